//! Writing in groups.

use cofferdam_store::Written;
use cofferdam_tasks::MessagesOf;
use cofferdam_testkit::database::On;
use futures_util::future::join_all;

use crate::rig::{Rig, caller, new_task, next_task};

#[tokio::test]
async fn operations_that_come_together_share_a_commit() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let new: Vec<_> = (0..300).map(|number| new_task(&number.to_string())).collect();
        for written in join_all(new.iter().map(|new| rig.add(new))).await {
            assert!(matches!(written, Written::Done { .. }), "{written:?}");
        }
        let (writes, commits) = (rig.metric("task_writes_total"), rig.metric("task_commits_total"));
        assert!(writes >= 300.0 && commits < 20.0, "{writes} in {commits} on {on:?}");
        assert_eq!(rig.metric("task_writes_waiting"), 0.0);
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_undo_its_write() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let new: Vec<_> = (0..50).map(|number| new_task(&number.to_string())).collect();
        for new in &new {
            // Polled once: it is among those that wait.
            let write = rig.add(new);
            tokio::pin!(write);
            assert!(futures_util::poll!(&mut write).is_pending());
        }
        for new in &new {
            while rig.tasks.get(&caller(), &new.task.id).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    }
}

#[tokio::test]
async fn an_operation_that_is_refused_spoils_no_other() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let new: Vec<_> = (0..20).map(|number| new_task(&number.to_string())).collect();
        let mut nowhere = new_task("no thread");
        nowhere.thread = None;
        let all = join_all(new.iter().chain([&nowhere]).map(|new| rig.add(new))).await;
        assert!(all[..20].iter().all(|written| matches!(written, Written::Done { .. })), "{all:?}");
        assert_eq!(all[20], Written::Missing);
        // The same once more: it was written before.
        assert!(matches!(rig.add(&new[0]).await, Written::Done { .. }));
        assert_eq!(rig.tasks.thread(&caller(), &new[0].task.thread).await.unwrap().messages, 1);
    }
}

#[tokio::test]
async fn an_idempotency_key_makes_one_task() {
    for on in On::all() {
        let rig = Rig::new(on).await;
        let once = |request: &str| {
            let mut new = new_task("x");
            new.once = Some(("key".to_owned(), request.to_owned()));
            new
        };
        let (first, same, other) = (once("a"), once("a"), once("b"));
        assert!(matches!(rig.add(&first).await, Written::Done { .. }));
        assert_eq!(rig.add(&same).await, Written::Before { task: first.task.id.clone(), same: true });
        assert_eq!(rig.add(&other).await, Written::Before { task: first.task.id.clone(), same: false });
    }
}

#[tokio::test]
async fn a_long_thread_is_paged_from_both_ends() {
    let messages: u64 = std::env::var("COFFERDAM_TASKS_MESSAGES").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000);
    for on in On::all() {
        let rig = Rig::new(on).await;
        let first = new_task("message 1");
        rig.add(&first).await;
        let thread = first.task.thread.clone();
        let mut number = 1;
        while number < messages {
            let more: Vec<_> = (number + 1..=(number + 200).min(messages))
                .map(|n| next_task(&thread, &format!("message {n}")))
                .collect();
            number += more.len() as u64;
            join_all(more.iter().map(|new| rig.add(new))).await;
        }
        let begun = std::time::Instant::now();
        let (mut after, mut seen) = (Some(0), 0);
        while let Some(from) = after {
            let page = rig.tasks.messages(&caller(), &thread, MessagesOf::After(from), 200).await.unwrap();
            assert!(page.messages.iter().zip(seen + 1..).all(|(message, seq)| message.seq == seq));
            seen += page.messages.len() as u64;
            after = page.next;
        }
        assert_eq!(seen, messages);
        let (mut before, mut left) = (Some(messages + 1), messages);
        while let Some(to) = before {
            let page = rig.tasks.messages(&caller(), &thread, MessagesOf::Before(to), 150).await.unwrap();
            assert_eq!(page.messages.last().map(|message| message.seq), Some(left));
            left -= page.messages.len() as u64;
            before = page.previous;
        }
        assert_eq!(left, 0);
        println!("{messages} messages read twice in {:?} on {on:?}", begun.elapsed());
        assert!(rig.tasks.messages(&caller(), &thread, MessagesOf::After(0), 201).await.is_err());
    }
}
