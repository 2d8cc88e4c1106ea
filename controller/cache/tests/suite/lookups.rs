//! Small values are found by every process until their time is over.

use std::time::Duration;

use bytes::Bytes;

use crate::server::{becomes, twins};

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_found_everywhere_until_it_is_deleted_or_old() {
    for (twin, _redis, one, two, _processes) in twins().await {
        let long = Duration::from_secs(60);
        assert_eq!(two.lookups.get("session").await, None, "{twin}");
        one.lookups.set("session", Bytes::from("worker 1"), long).await;
        assert_eq!(two.lookups.get("session").await.as_deref(), Some(&b"worker 1"[..]), "{twin}");
        two.lookups.set("session", Bytes::from("worker 2"), long).await;
        assert_eq!(one.lookups.get("session").await.as_deref(), Some(&b"worker 2"[..]), "{twin}");
        one.lookups.delete("session").await;
        assert_eq!(two.lookups.get("session").await, None, "{twin}");
        one.lookups.set("short", Bytes::from("x"), Duration::from_millis(200)).await;
        assert!(two.lookups.get("short").await.is_some(), "{twin}");
        becomes("it is old", async || {
            two.lookups.get("short").await.is_none() && one.lookups.get("short").await.is_none()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_bounded() {
    for (twin, _redis, one, _two, _processes) in twins().await {
        one.lookups.set("long", Bytes::from(vec![0; 65 << 10]), Duration::from_secs(60)).await;
        assert_eq!(one.lookups.get("long").await, None, "{twin}");
    }
    let memory = cofferdam_cache::Cache::memory();
    for number in 0..1000 {
        memory.lookups.set(&format!("{number}"), Bytes::from(vec![0; 64 << 10]), Duration::from_secs(60)).await;
    }
    let mut kept = 0;
    for number in 0..1000 {
        kept += usize::from(memory.lookups.get(&format!("{number}")).await.is_some());
    }
    assert!(kept <= 300, "{kept} of 64 KiB each");
}
