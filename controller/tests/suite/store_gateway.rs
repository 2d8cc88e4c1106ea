//! Secrets and key-value namespaces in every database: SQLite always, PostgreSQL where `COFFERDAM_TEST_DATABASE_URL`
//! names one.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::time::{SystemTime, UNIX_EPOCH};

use cofferdam_contract::{KeyValueGrant, OrganizationId};
use cofferdam_controller::config::{DatabaseConfig, Secret};
use cofferdam_controller::store::{KeyValueError, Namespace, SecretRow, Store};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    suite(&DatabaseConfig::sqlite(&folder.path().join("a.db"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql() {
    let Ok(url) = std::env::var("COFFERDAM_TEST_DATABASE_URL") else {
        eprintln!("SKIPPED: COFFERDAM_TEST_DATABASE_URL names no PostgreSQL");
        return;
    };
    suite(&DatabaseConfig { url: Secret::new(url) }).await;
}

async fn suite(config: &DatabaseConfig) {
    let store = Store::open(config).await.unwrap();
    let unique = format!("{:x}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos());
    secrets(&store, &unique).await;
    values(&store, &unique).await;
    races(&store, &unique).await;
    store.close().await;
}

async fn secrets(store: &Store, unique: &str) {
    let organization = OrganizationId::default_organization();
    let row = SecretRow {
        organization: organization.clone(),
        name: format!("s-{unique}"),
        hosts: "[\"a.example\"]".into(),
        sealed: "v1.x.y".into(),
        created_at: 5,
        updated_at: 5,
    };
    let before = store.count_secrets(&organization).await.unwrap();
    store.put_secret(&row).await.unwrap();
    let changed = SecretRow { sealed: "v1.x.z".into(), created_at: 9, updated_at: 9, ..row.clone() };
    store.put_secret(&changed).await.unwrap();
    let kept = SecretRow { created_at: 5, ..changed };
    assert_eq!(store.secret(&organization, &row.name).await.unwrap(), Some(kept.clone()));
    assert!(store.secrets(&organization, 1_000).await.unwrap().contains(&kept));
    assert_eq!(store.count_secrets(&organization).await.unwrap(), before + 1);
    let stranger = OrganizationId::parse("stranger").unwrap();
    assert_eq!(store.secret(&stranger, &row.name).await.unwrap(), None);
    assert!(!store.delete_secret(&stranger, &row.name).await.unwrap());
    assert!(store.delete_secret(&organization, &row.name).await.unwrap());
    assert!(!store.delete_secret(&organization, &row.name).await.unwrap());
}

async fn values(store: &Store, unique: &str) {
    let organization = OrganizationId::default_organization();
    let space = Namespace { organization: &organization, owner: &format!("tool-{unique}") };
    let grant = KeyValueGrant { max_bytes: 20, max_keys: 3 };
    assert_eq!(store.get_value(&space, "b", "k").await.unwrap(), None);
    // "abcdef" has 6 bytes, its key one.
    store.set_value(&space, &grant, "b", "k", "YWJjZGVm").await.unwrap();
    assert_eq!(store.get_value(&space, "b", "k").await.unwrap().as_deref(), Some("YWJjZGVm"));
    assert!(!store.has_value(&space, "B", "k").await.unwrap());
    let quota = store.set_value(&space, &grant, "b", "l", "YWJjZGVmYWJjZGVmYQ==").await;
    assert!(matches!(quota, Err(KeyValueError::Quota(_))), "7 + 1 + 13 bytes");
    store.set_value(&space, &grant, "b", "l", "YWJjZGVmYWJjZGVm").await.unwrap();
    store.delete_value(&space, "b", "k").await.unwrap();
    store.set_value(&space, &grant, "b", "m", "YWJjZGU=").await.unwrap();
    let smaller = KeyValueGrant { max_bytes: 5, max_keys: 1 };
    store.set_value(&space, &smaller, "b", "l", "").await.unwrap();
    assert!(store.set_value(&space, &smaller, "b", "new", "").await.is_err());
    assert_eq!(store.increment_value(&space, &grant, "c", "n", -5).await.unwrap(), -5);
    assert_eq!(store.increment_value(&space, &grant, "c", "n", 7).await.unwrap(), 2);
    assert!(store.increment_value(&space, &grant, "b", "m", 1).await.is_err());
    assert_eq!(store.list_values(&space, "b", "", 10).await.unwrap(), ["l", "m"]);
    assert_eq!(store.list_values(&space, "b", "l", 10).await.unwrap(), ["m"]);
    let swap = store.swap_value(&space, &grant, "c", "n", Some("Mg=="), "Mw==").await.unwrap();
    assert_eq!(swap, (true, Some("Mg==".into())));
    let swap = store.swap_value(&space, &grant, "c", "n", Some("Mg=="), "NA==").await.unwrap();
    assert_eq!(swap, (false, Some("Mw==".into())));
    store.drop_values(&space).await.unwrap();
    assert_eq!(store.list_values(&space, "b", "", 10).await.unwrap(), Vec::<String>::new());
    let all = KeyValueGrant { max_bytes: 7, max_keys: 1 };
    store.set_value(&space, &all, "b", "k", "YWJjZGVm").await.unwrap();
    store.drop_values(&space).await.unwrap();
}

/// Two that change one key at once, as two controllers on one database do.
async fn races(store: &Store, unique: &str) {
    let organization = OrganizationId::default_organization();
    let owner = format!("race-{unique}");
    let work = |_| {
        let (store, organization, owner) = (store.clone(), organization.clone(), owner.clone());
        tokio::spawn(async move {
            let space = Namespace { organization: &organization, owner: &owner };
            for _ in 0..10 {
                store.increment_value(&space, &KeyValueGrant::default(), "b", "n", 1).await.unwrap();
            }
        })
    };
    futures_util::future::join_all((0..8).map(work)).await.into_iter().for_each(|done| done.unwrap());
    let space = Namespace { organization: &organization, owner: &owner };
    assert_eq!(store.increment_value(&space, &KeyValueGrant::default(), "b", "n", 0).await.unwrap(), 80);
    store.drop_values(&space).await.unwrap();
}
