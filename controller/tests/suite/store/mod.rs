//! One suite for every database: SQLite always, PostgreSQL where `COFFERDAM_TEST_DATABASE_URL` names one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr)]

mod gateway;
mod records;
mod tools;

use std::time::{SystemTime, UNIX_EPOCH};

use cofferdam_controller::config::{DatabaseConfig, Secret};
use cofferdam_controller::store::Store;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    suite(&DatabaseConfig::sqlite(&folder.path().join("a b?#%.db"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql() {
    let Ok(url) = std::env::var("COFFERDAM_TEST_DATABASE_URL") else {
        eprintln!("SKIPPED: COFFERDAM_TEST_DATABASE_URL names no PostgreSQL");
        return;
    };
    suite(&DatabaseConfig { url: Secret::new(url) }).await;
}

/// Leaves what it wrote behind under fresh names, so that it can run again on the same database.
async fn suite(config: &DatabaseConfig) {
    let store = Store::open(config).await.unwrap();
    let unique = format!("{:x}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos());
    records::suite(config, &store, &unique).await;
    gateway::suite(&store, &unique).await;
    tools::suite(&store, &unique).await;
    store.close().await;
}

/// Where nobody listens, where somebody listens and says nothing, and where there is no such host.
#[tokio::test]
async fn a_database_that_cannot_be_reached_is_named_without_its_password() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = closed.local_addr().unwrap().port();
    drop(closed);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = silent.local_addr().unwrap().port();
    for (address, parts) in [
        (format!("127.0.0.1:{nobody}/app"), vec![format!("127.0.0.1:{nobody}"), "\"app\"".into(), "refused".into()]),
        (format!("127.0.0.1:{mute}/app"), vec![format!("127.0.0.1:{mute}"), "does not answer as PostgreSQL".into()]),
        ("no-such-host.invalid/app".into(), vec!["no-such-host.invalid:5432".into(), "host and port".into()]),
    ] {
        let url = Secret::new(format!("postgres://me:hush-hush@{address}"));
        let opened = Store::open_within(&DatabaseConfig { url }, std::time::Duration::from_secs(1)).await;
        let text = opened.err().unwrap().chain();
        for part in parts {
            assert!(text.contains(&part), "{text}: no {part:?}");
        }
        assert!(text.contains("\"me\"") && !text.contains("hush"), "{text}");
    }
    let odd = Secret::new("postgres://me:hush-hush@host:port/app");
    let opened = Store::open_within(&DatabaseConfig { url: odd }, std::time::Duration::from_secs(1)).await;
    let text = opened.err().unwrap().chain();
    assert!(text.contains("DATABASE_URL") && !text.contains("hush"), "{text}");
}
