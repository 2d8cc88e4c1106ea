//! The bus over PostgreSQL.

use std::time::Duration;

use bytes::Bytes;
use cofferdam_cache::{Bus, Topic, Wake};
use cofferdam_store::{PgBus, Store};
use cofferdam_testkit::database::On;
use sqlx::{AnyPool, query_scalar};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn messages_reach_other_processes_once_and_a_lost_connection_is_said() {
    let folder = tempfile::tempdir().unwrap();
    for on in On::all() {
        let config = on.database(&folder).await;
        let (Some(first), Some(second)) = (PgBus::start(&config).unwrap(), PgBus::start(&config).unwrap()) else {
            assert_eq!(on, On::Sqlite);
            continue;
        };
        let mut heard = second.subscribe(Topic::Thread);
        assert_eq!(timeout(SOON, heard.next()).await.unwrap(), Wake::Missed, "it listens from now on");
        let mut own = first.subscribe(Topic::Thread);
        while own.try_next().is_some() {}
        for n in 0..500_u32 {
            first.publish(Topic::Thread, Bytes::from(format!("thread {n}\0")));
            first.publish(Topic::Queue, Bytes::from_static(b"another topic"));
        }
        for n in 0..500_u32 {
            let expected = Wake::Message(Bytes::from(format!("thread {n}\0")));
            assert_eq!(timeout(SOON, heard.next()).await.unwrap(), expected);
            assert!(matches!(own.try_next(), Some(Wake::Message(_) | Wake::Missed)));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(heard.try_next(), None);
        first.publish(Topic::Thread, vec![1; cofferdam_cache::MAX_PAYLOAD + 1].into());
        assert_eq!(timeout(SOON, heard.next()).await.unwrap(), Wake::Missed);

        let store = Store::open(&config).await.unwrap();
        let other = AnyPool::connect(config.url.expose()).await.unwrap();
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        let ended: i64 = query_scalar(sql).fetch_one(&other).await.unwrap();
        assert!(ended > 0);
        assert_eq!(timeout(SOON, heard.next()).await.unwrap(), Wake::Missed);
        tokio::time::sleep(Duration::from_millis(500)).await;
        while heard.try_next().is_some() {}
        first.publish(Topic::Thread, Bytes::from_static(b"again"));
        assert_eq!(timeout(SOON, heard.next()).await.unwrap(), Wake::Message(Bytes::from_static(b"again")));
        store.close().await;
    }
}
