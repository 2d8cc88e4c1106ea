//! Opening a database: odd names, and databases that cannot be reached.

use std::time::Duration;

use cofferdam_core::{Secret, chain};
use cofferdam_store::{DatabaseConfig, Store};
use tokio::net::TcpListener;

async fn failure(url: String) -> String {
    let config = DatabaseConfig { url: Secret::new(url) };
    chain(&Store::open_within(&config, Duration::from_secs(1)).await.err().unwrap())
}

#[tokio::test]
async fn a_sqlite_file_may_have_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b?#%.db");
    Store::open(&DatabaseConfig::sqlite(&path)).await.unwrap().close().await;
    assert!(path.is_file());
    Store::open(&DatabaseConfig::sqlite(&path)).await.unwrap().close().await;
}

/// Nothing listens; a server accepts and stays silent; the host does not exist; the address is malformed.
#[tokio::test]
async fn a_database_that_cannot_be_reached_is_named_without_its_password() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = closed.local_addr().unwrap().port();
    drop(closed);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = silent.local_addr().unwrap().port();
    for (address, parts) in [
        (format!("127.0.0.1:{nobody}/app"), vec![format!("127.0.0.1:{nobody}"), "\"app\"".into(), "refused".into()]),
        (format!("127.0.0.1:{mute}/app"), vec![format!("127.0.0.1:{mute}"), "does not answer as PostgreSQL".into()]),
        ("no-such-host.invalid/app".into(), vec!["no-such-host.invalid:5432".into(), "host and port".into()]),
    ] {
        let text = failure(format!("postgres://me:hush-hush@{address}")).await;
        for part in parts {
            assert!(text.contains(&part), "{text}: no {part:?}");
        }
        assert!(text.contains("\"me\"") && !text.contains("hush"), "{text}");
    }
    let text = failure("postgres://me:hush-hush@host:port/app".into()).await;
    assert!(text.contains("DATABASE_URL") && !text.contains("hush"), "{text}");
}
