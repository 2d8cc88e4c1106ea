//! Keys, sessions and snapshots.

use cofferdam_contract::{Language, Limits, OrganizationId, SessionId};
use cofferdam_controller::config::DatabaseConfig;
use cofferdam_controller::store::{KeyRow, SessionRow, SnapshotRow, Store};

pub async fn suite(config: &DatabaseConfig, store: &Store, unique: &str) {
    let again = Store::open(config).await.unwrap();
    let organization = OrganizationId::default_organization();
    let key = keys(store, &organization, unique).await;
    sessions(store, &organization, &key, unique).await;
    snapshots(store, &organization, &key, unique).await;
    assert_eq!(again.sessions(&organization, &key, "", 10).await.unwrap().len(), 1, "durable for everybody");
    again.close().await;
}

async fn keys(store: &Store, organization: &OrganizationId, unique: &str) -> String {
    let row = KeyRow {
        id: format!("key_{unique}"),
        organization: organization.clone(),
        name: "naïve 'quoted'".into(),
        hash: format!("h1{unique}"),
        scopes: "run,read".into(),
        created_at: 5,
    };
    store.put_key(&row).await.unwrap();
    assert_eq!(store.key_by_hash(&row.hash).await.unwrap(), Some(row.clone()));
    let changed = KeyRow { hash: format!("h2{unique}"), ..row.clone() };
    store.put_key(&changed).await.unwrap();
    assert_eq!(store.key_by_hash(&row.hash).await.unwrap(), None, "the old text is not a key any more");
    assert!(store.keys(organization).await.unwrap().contains(&changed));
    let other = KeyRow { id: format!("key_b{unique}"), hash: format!("h3{unique}"), ..row.clone() };
    store.put_key(&other).await.unwrap();
    let stranger = OrganizationId::parse("stranger").unwrap();
    assert!(!store.revoke_key(&stranger, &other.id).await.unwrap());
    assert!(store.revoke_key(organization, &other.id).await.unwrap());
    assert!(!store.revoke_key(organization, &other.id).await.unwrap());
    assert!(!store.all_keys(1_000).await.unwrap().contains(&other));
    row.id
}

async fn sessions(store: &Store, organization: &OrganizationId, key: &str, unique: &str) {
    let row = |name: &str, last_used_at, ends_at| SessionRow {
        id: SessionId::parse(&format!("ses_{name}_{unique}")).unwrap(),
        organization: organization.clone(),
        api_key: key.to_owned(),
        language: Language::TypeScript,
        worker: "local".into(),
        ttl_s: 10,
        limits: Limits { wall_ms: u64::MAX / 2, ..Limits::DEFAULT },
        grants: cofferdam_contract::Grants::default(),
        created_at: 100,
        last_used_at,
        ends_at,
    };
    let (a, b, c) = (row("a", 100, 1_000), row("b", 500, 1_000), row("c", 105, 106));
    store.insert_sessions(&[a.clone(), b.clone(), c.clone()]).await.unwrap();
    assert!(store.insert_sessions(&[row("d", 1, 1), a.clone()]).await.is_err(), "all or none");
    assert_eq!(store.session(&row("d", 1, 1).id).await.unwrap(), None);
    assert_eq!(store.session(&a.id).await.unwrap(), Some(a.clone()));
    assert_eq!(store.sessions(organization, key, a.id.as_str(), 1).await.unwrap(), std::slice::from_ref(&b));
    assert_eq!(store.sessions(organization, "key_none", "", 9).await.unwrap(), []);
    let (every, own) = store.count_sessions(organization, key).await.unwrap();
    assert!(every >= 3 && own == 3, "{every} {own}");
    let expired = |now| async move {
        let rows = store.expired_sessions(now, 100).await.unwrap();
        rows.into_iter().filter(|row| row.api_key == key).map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(expired(106).await, std::slice::from_ref(&c.id));
    store.touch_sessions(&[(a.id.clone(), 300), (b.id.clone(), 400)]).await.unwrap();
    assert_eq!(store.session(&a.id).await.unwrap().unwrap().last_used_at, 300);
    assert_eq!(store.session(&b.id).await.unwrap().unwrap().last_used_at, 500, "never back");
    assert_eq!(expired(310).await, [c.id.clone(), a.id.clone()]);
    store.delete_sessions(&[a.id.clone(), c.id]).await.unwrap();
    assert_eq!(store.session(&a.id).await.unwrap(), None);
}

async fn snapshots(store: &Store, organization: &OrganizationId, key: &str, unique: &str) {
    let row = SnapshotRow {
        organization: organization.clone(),
        api_key: key.to_owned(),
        name: "base".into(),
        worker_key: format!("snap_{unique}"),
        language: Language::Python,
        worker: "local".into(),
        kernel: "python 3.15".into(),
        size_bytes: 0,
        created_at: 7,
    };
    assert!(store.insert_snapshot(&row).await.unwrap());
    let taken = SnapshotRow { worker_key: format!("snap_b{unique}"), ..row.clone() };
    assert!(!store.insert_snapshot(&taken).await.unwrap(), "a name is taken once");
    store.set_snapshot_size(&row.worker_key, 1 << 40).await.unwrap();
    let found = store.snapshot(organization, key, "base").await.unwrap();
    assert_eq!(found, Some(SnapshotRow { size_bytes: 1 << 40, ..row.clone() }));
    assert_eq!(store.snapshot(organization, "key_none", "base").await.unwrap(), None);
    assert_eq!(store.snapshots(organization, key).await.unwrap().len(), 1);
    store.delete_snapshot(&row.worker_key).await.unwrap();
    assert_eq!(store.snapshots(organization, key).await.unwrap(), []);
}
