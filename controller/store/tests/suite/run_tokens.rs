//! Run tokens: living ones, their end, their number, and their sweep.

use cofferdam_core::now;
use cofferdam_store::{Added, RunTokenRow};

use super::records::key;
use super::{on_each, organization, stranger};

fn token(id: &str, task: &str) -> RunTokenRow {
    RunTokenRow {
        id: id.to_owned(),
        organization: organization(),
        hash: format!("hash of {id}"),
        key: "key_a".to_owned(),
        agent: "writer".to_owned(),
        task: task.to_owned(),
        models: None,
        max_tokens: None,
        created_at: now(),
        expires_at: now() + 100,
    }
}

#[tokio::test]
async fn a_token_lives_until_it_ends_or_expires_or_loses_its_key() {
    on_each(async |_, store| {
        store.put_key(&key("key_a", "h")).await.unwrap();
        let narrow =
            RunTokenRow { models: Some(vec!["a/*".to_owned()]), max_tokens: Some(7), ..token("run_token_1", "t1") };
        let rows = [narrow, token("run_token_2", "t1"), token("run_token_3", "t2")];
        for row in &rows {
            assert_eq!(store.add_run_token(row, 10).await.unwrap(), Added::Done);
            assert_eq!(store.run_token_by_hash(&row.hash).await.unwrap().as_ref(), Some(row));
        }
        let old = RunTokenRow { expires_at: now(), ..token("run_token_4", "t1") };
        assert_eq!(store.add_run_token(&old, 10).await.unwrap(), Added::Done);
        assert_eq!(store.run_token_by_hash(&old.hash).await.unwrap(), None);
        assert_eq!(store.run_tokens(&organization(), None, "", 10).await.unwrap(), rows);
        assert_eq!(store.run_tokens(&organization(), Some("t1"), "run_token_1", 10).await.unwrap(), rows[1..2]);
        assert_eq!(store.run_tokens(&organization(), None, "", 1).await.unwrap(), rows[..1]);
        assert!(store.run_tokens(&stranger(), None, "", 10).await.unwrap().is_empty());

        assert!(!store.end_run_token(&stranger(), "run_token_3").await.unwrap());
        assert!(store.end_run_tokens_of(&stranger(), "t1").await.unwrap().is_empty());
        let mut ended = store.end_run_tokens_of(&organization(), "t1").await.unwrap();
        ended.sort();
        assert_eq!(ended, ["run_token_1", "run_token_2"]);
        assert!(!store.end_run_token(&organization(), "run_token_1").await.unwrap(), "it has ended");
        assert!(!store.end_run_token(&organization(), "run_token_4").await.unwrap(), "its time was over");
        let mut ended = store.ended_run_tokens(now() - 60).await.unwrap();
        ended.sort();
        assert_eq!(ended, ["run_token_1", "run_token_2"]);
        assert!(store.ended_run_tokens(now() + 60).await.unwrap().is_empty());

        assert!(store.revoke_key(&organization(), "key_a").await.unwrap());
        assert_eq!(store.run_token_by_hash("hash of run_token_3").await.unwrap(), None);
        assert!(store.run_tokens(&organization(), None, "", 10).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_dead_take_no_place_and_are_swept() {
    on_each(async |_, store| {
        store.put_key(&key("key_a", "h")).await.unwrap();
        let full = async |id| store.add_run_token(&token(id, "t"), 2).await.unwrap() == Added::Full;
        assert!(!full("run_token_1").await && !full("run_token_2").await && full("run_token_3").await);
        assert!(store.end_run_token(&organization(), "run_token_1").await.unwrap());
        assert!(!full("run_token_4").await && full("run_token_5").await);
        let long_over = RunTokenRow { expires_at: now() - 10_000, ..token("run_token_6", "t") };
        assert_eq!(store.add_run_token(&long_over, 100).await.unwrap(), Added::Done);
        assert!(full("run_token_7").await);
        assert_eq!(store.sweep_run_tokens().await.unwrap(), 1);
        assert_eq!(store.run_tokens(&organization(), None, "", 10).await.unwrap().len(), 2);
    })
    .await;
}
