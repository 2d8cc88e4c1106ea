//! Search, forks, deletion and sweeps of threads.

use cofferdam_contract::work::Role;
use cofferdam_contract::{AgentId, ThreadId};
use cofferdam_core::random_bits;
use cofferdam_store::{
    Forked, FoundMessage, Lane, MessageSearch, ReceiptState, Span, Store, ThreadDeleted, ThreadQuery, Turn, Write,
};

use super::rig::*;
use crate::{on_each, organization, stranger};

async fn found(store: &Store, lane: &Lane, text: &str) -> Vec<FoundMessage> {
    while store.index_messages(100).await.unwrap() > 0 {}
    let search = MessageSearch { text: text.to_owned(), limit: 10, ..MessageSearch::default() };
    store.search_messages(&lane.organization, &search).await.unwrap().messages
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_found_within_the_organization() {
    on_each(async |_, store| {
        let theirs = Lane { organization: stranger(), ..lane() };
        let (ours, other) = (new_task(&lane(), "The Quick brown fox, naïve über 狐"), new_task(&theirs, "quick thief"));
        store.write_work(&[add(&ours), add(&other)]).await.unwrap();
        let messages = found(store, &lane(), "quick FOX").await;
        assert_eq!(messages.len(), 1);
        assert_eq!((&messages[0].thread, messages[0].seq, messages[0].role), (&ours.task.thread, 1, Role::User));
        assert!(messages[0].snippet.contains("Quick brown fox"));
        assert_eq!(found(store, &lane(), "quick").await.len(), 1, "not the stranger's");
        assert_eq!(found(store, &theirs, "quick").await.len(), 1);
        for nothing in [
            "",
            "  !!",
            "quick slow",
            "qui",
            "oorg_default",
            "odefault",
            "\u{1}odefault",
            "thief OR quick",
            "quick -fox x",
        ] {
            assert!(found(store, &lane(), nothing).await.is_empty(), "{nothing:?}");
        }
        for one in ["NAÏVE", "über", "狐", "quick\" OR \"fox", "place : quick"] {
            let number = found(store, &lane(), one).await.len();
            assert_eq!(number, usize::from(!one.contains("OR") && !one.contains("place")), "{one:?}");
        }
        assert_eq!(store.unindexed_messages().await.unwrap(), 0);
        let narrow = MessageSearch {
            text: "quick".to_owned(),
            agent: Some(AgentId::parse("nobody").unwrap()),
            ..MessageSearch::default()
        };
        assert!(store.search_messages(&organization(), &narrow).await.unwrap().messages.is_empty());
        let narrow = MessageSearch { agent: Some(agent()), thread: Some(ours.task.thread.clone()), limit: 5, ..narrow };
        assert_eq!(store.search_messages(&organization(), &narrow).await.unwrap().messages.len(), 1);
        // Pages.
        for _ in 0..5 {
            did(store, add(&new_task(&lane(), "quick again"))).await;
        }
        let mut search = MessageSearch { limit: 2, agent: None, thread: None, ..narrow };
        found(store, &lane(), "quick").await;
        let mut pages = Vec::new();
        loop {
            let page = store.search_messages(&organization(), &search).await.unwrap();
            pages.push(page.messages.len());
            search.after = page.next;
            if page.next.is_none() {
                break;
            }
        }
        assert_eq!(pages.iter().sum::<usize>(), 6);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_are_forked_deleted_and_swept() {
    on_each(async |_, store| {
        let new = new_task(&lane(), "needle");
        let thread = &new.task.thread;
        did(store, add(&new)).await;
        let taken = take(store).await.unwrap();
        let mut own = step(&taken, Turn::Goes);
        own.receipts = vec![receipt(&new.task.id, "a", ReceiptState::Done)];
        own.state = [("session".to_owned(), serde_json::json!("s"))].into();
        did(store, Write::Step(Box::new(own))).await;
        assert_eq!(store.delete_thread(&organization(), thread).await.unwrap(), ThreadDeleted::Busy);
        assert_eq!(store.sweep_threads(i64::MAX, 10).await.unwrap(), 0);
        step_of(store, &taken, completed()).await;

        let to = ThreadId::from_random(random_bits().unwrap());
        let Forked::Done(fork) = store.fork_thread(&organization(), thread, 2, &to, "key_9").await.unwrap() else {
            panic!()
        };
        assert_eq!((fork.last_message, fork.last_event, &*fork.api_key), (2, 0, "key_9"));
        assert_eq!(fork.state["forked"]["session"], "s");
        assert_eq!(
            (fork.forked_from.as_ref(), store.messages(&to, Span::After(0), 9).await.unwrap().len()),
            (Some(thread), 2)
        );
        assert_eq!(store.fork_thread(&stranger(), thread, 2, &to, "k").await.unwrap(), Forked::Missing);
        // The fork goes its own way.
        let more = next_task(&lane(), &to, "more");
        did(store, add(&more)).await;
        assert_whole(store, &organization(), &to).await;
        assert_eq!(found(store, &lane(), "needle").await.len(), 2);

        assert_eq!(store.delete_thread(&stranger(), thread).await.unwrap(), ThreadDeleted::Missing);
        assert_eq!(store.delete_thread(&organization(), thread).await.unwrap(), ThreadDeleted::Done);
        assert_eq!(store.delete_thread(&organization(), thread).await.unwrap(), ThreadDeleted::Missing);
        assert!(store.task(&organization(), &new.task.id).await.unwrap().is_none());
        assert!(store.receipts(&new.task.id).await.unwrap().is_empty());
        assert!(store.messages(thread, Span::After(0), 9).await.unwrap().is_empty());
        assert!(store.events(thread, 0, 9).await.unwrap().is_empty());
        assert_eq!(found(store, &lane(), "needle").await.len(), 1);

        let taken = take(store).await.unwrap();
        step_of(store, &taken, completed()).await;
        assert_eq!(store.sweep_threads(0, 10).await.unwrap(), 0);
        assert_eq!(store.sweep_threads(i64::MAX, 10).await.unwrap(), 1);
        assert!(
            store
                .threads(&organization(), &ThreadQuery { limit: 9, ..ThreadQuery::default() })
                .await
                .unwrap()
                .is_empty()
        );
        assert!(found(store, &lane(), "needle").await.is_empty());
    })
    .await;
}
