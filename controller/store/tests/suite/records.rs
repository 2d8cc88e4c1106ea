//! Keys, sessions, snapshots, secrets and environments.

use cofferdam_contract::{Grants, Language, Limits, SessionId};
use cofferdam_store::{
    Added, EnvironmentRow, InsertedSessions, KeyRow, KeyTerms, MaxSessions, Put, SecretRow, SessionRow, SnapshotRow,
    Store,
};

use super::{on_each, organization, stranger};

const MANY: MaxSessions = MaxSessions { every: 100, own: 100 };

pub(crate) fn key(id: &str, hash: &str) -> KeyRow {
    KeyRow {
        id: id.to_owned(),
        organization: organization(),
        name: "naïve 'quoted'".into(),
        hash: hash.to_owned(),
        scopes: "run,read".into(),
        created_at: 5,
        terms: KeyTerms::default(),
    }
}

#[tokio::test]
async fn keys_are_found_by_hash_until_they_are_revoked() {
    on_each(async |_, store| {
        let row = key("key_a", "h1");
        store.put_key(&row).await.unwrap();
        assert_eq!(store.key_by_hash(&row.hash).await.unwrap().unwrap().row, row);
        let changed = KeyRow { hash: "h2".into(), ..row.clone() };
        store.put_key(&changed).await.unwrap();
        assert_eq!(store.key_by_hash(&row.hash).await.unwrap(), None, "the old text is not a key any more");
        assert!(store.keys(&organization()).await.unwrap().contains(&changed));
        let other = key("key_b", "h3");
        store.put_key(&other).await.unwrap();
        assert!(!store.revoke_key(&stranger(), &other.id).await.unwrap());
        assert!(store.revoke_key(&organization(), &other.id).await.unwrap());
        assert!(!store.revoke_key(&organization(), &other.id).await.unwrap());
        assert!(!store.all_keys(1_000).await.unwrap().iter().any(|state| state.row == other));
    })
    .await;
}

pub(crate) fn session(name: &str, last_used_at: i64, ends_at: i64) -> SessionRow {
    SessionRow {
        id: SessionId::parse(&format!("ses_{name}")).unwrap(),
        organization: organization(),
        api_key: "key_a".into(),
        language: Language::TypeScript,
        worker: "local".into(),
        ttl_s: 10,
        limits: Limits { wall_ms: u64::MAX / 2, ..Limits::DEFAULT },
        grants: Grants::default(),
        created_at: 100,
        last_used_at,
        ends_at,
    }
}

#[tokio::test]
async fn sessions_end_by_idleness_and_by_age() {
    on_each(async |config, store| {
        store.put_key(&key("key_a", "h1")).await.unwrap();
        store.put_key(&key("key_b", "h2")).await.unwrap();
        let (a, b, c) = (session("a", 100, 1_000), session("b", 500, 1_000), session("c", 105, 106));
        assert_eq!(
            store.insert_sessions(&[a.clone(), b.clone(), c.clone()], MANY).await.unwrap(),
            InsertedSessions::Done
        );
        let d = session("d", 1, 1);
        assert!(store.insert_sessions(&[d.clone(), a.clone()], MANY).await.is_err(), "all or none");
        assert_eq!(store.session(&d.id).await.unwrap(), None);
        assert_eq!(store.session(&a.id).await.unwrap(), Some(a.clone()));
        let page = store.sessions(&organization(), "key_a", a.id.as_str(), 1).await.unwrap();
        assert_eq!(page, std::slice::from_ref(&b));
        assert_eq!(store.sessions(&organization(), "key_none", "", 9).await.unwrap(), []);
        let others = SessionRow { api_key: "key_b".into(), ..session("e", 1_000, 2_000) };
        store.insert_sessions(&[others], MANY).await.unwrap();
        let full = store.insert_sessions(&[session("f", 1, 1)], MaxSessions { every: 4, own: 9 }).await.unwrap();
        assert_eq!(full, InsertedSessions::Full { every: 4, own: 3 });
        let expired = async |now| {
            let rows = store.expired_sessions(now, 100).await.unwrap();
            rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
        };
        assert_eq!(expired(106).await, std::slice::from_ref(&c.id));
        store.touch_sessions(&[(a.id.clone(), 300), (b.id.clone(), 400)]).await.unwrap();
        assert_eq!(store.session(&a.id).await.unwrap().unwrap().last_used_at, 300);
        assert_eq!(store.session(&b.id).await.unwrap().unwrap().last_used_at, 500, "never back");
        assert_eq!(expired(310).await, [c.id.clone(), a.id.clone()]);
        store.delete_sessions(&[a.id.clone(), c.id]).await.unwrap();
        assert_eq!(store.session(&a.id).await.unwrap(), None);
        let again = Store::open(config).await.unwrap();
        assert_eq!(again.sessions(&organization(), "key_a", "", 10).await.unwrap(), [b], "durable for everybody");
        again.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_snapshot_belongs_to_its_key() {
    on_each(async |_, store| {
        store.put_key(&key("key_a", "h1")).await.unwrap();
        let row = SnapshotRow {
            organization: organization(),
            api_key: "key_a".into(),
            name: "base".into(),
            worker_key: "snap_a".into(),
            language: Language::Python,
            worker: "local".into(),
            kernel: "python 3.15".into(),
            size_bytes: 0,
            created_at: 7,
        };
        assert_eq!(store.insert_snapshot(&row, 9).await.unwrap(), Added::Done);
        let taken = SnapshotRow { worker_key: "snap_b".into(), ..row.clone() };
        assert_eq!(store.insert_snapshot(&taken, 9).await.unwrap(), Added::Taken, "a name is taken once");
        assert!(store.set_snapshot_size(&row.worker_key, 1 << 40).await.unwrap());
        let found = store.snapshot(&organization(), "key_a", "base").await.unwrap();
        assert_eq!(found, Some(SnapshotRow { size_bytes: 1 << 40, ..row.clone() }));
        assert_eq!(store.snapshot(&organization(), "key_none", "base").await.unwrap(), None);
        assert_eq!(store.snapshots(&organization(), "key_a").await.unwrap().len(), 1);
        store.delete_snapshot(&row.worker_key).await.unwrap();
        assert_eq!(store.snapshots(&organization(), "key_a").await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_secret_keeps_the_time_of_its_creation() {
    on_each(async |_, store| {
        let row = SecretRow {
            organization: organization(),
            name: "s".into(),
            hosts: "[\"a.example\"]".into(),
            sealed: "v1.x.y".into(),
            created_at: 5,
            updated_at: 5,
        };
        assert_eq!(store.put_secret(&row, 9).await.unwrap(), Put::Added);
        let changed = SecretRow { sealed: "v1.x.z".into(), created_at: 9, updated_at: 9, ..row.clone() };
        assert_eq!(store.put_secret(&changed, 1).await.unwrap(), Put::Replaced { created_at: row.created_at });
        let kept = SecretRow { created_at: 5, ..changed };
        assert_eq!(store.secret(&organization(), &row.name).await.unwrap(), Some(kept.clone()));
        assert_eq!(store.secrets(&organization(), 1_000).await.unwrap(), [kept]);
        assert_eq!(store.secrets(&organization(), 9).await.unwrap().len(), 1);
        assert_eq!(store.secret(&stranger(), &row.name).await.unwrap(), None);
        assert!(!store.delete_secret(&stranger(), &row.name).await.unwrap());
        assert!(store.delete_secret(&organization(), &row.name).await.unwrap());
        assert!(!store.delete_secret(&organization(), &row.name).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn an_environment_keeps_its_id() {
    on_each(async |_, store| {
        let row = EnvironmentRow {
            id: "env_a".into(),
            organization: organization(),
            name: "staging".into(),
            settings: "{}".into(),
            sealed: "v1.x.y".into(),
            created_at: 5,
            updated_at: 5,
        };
        assert_eq!(store.put_environment(&row, 9).await.unwrap(), Some(Put::Added));
        let kept = EnvironmentRow { settings: "{\"a\":1}".into(), updated_at: 9, ..row.clone() };
        let other = EnvironmentRow { id: "env_b".into(), ..kept.clone() };
        assert_eq!(store.put_environment(&other, 9).await.unwrap(), None, "its sealed part is bound to another id");
        let changed = EnvironmentRow { created_at: 9, ..kept.clone() };
        assert_eq!(store.put_environment(&changed, 1).await.unwrap(), Some(Put::Replaced { created_at: 5 }));
        assert_eq!(store.environment(&organization(), "staging").await.unwrap(), Some(kept.clone()));
        let all = store.environments(&organization()).await.unwrap();
        assert_eq!(all.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["local", "staging"]);
        assert_eq!(store.environments(&organization()).await.unwrap().len(), 2);
        assert_eq!(store.environment(&stranger(), "staging").await.unwrap(), None);
        assert_eq!(store.inhabited_environments().await.unwrap(), []);
        assert!(store.delete_environment(&organization(), "staging").await.unwrap());
        assert!(!store.delete_environment(&organization(), "staging").await.unwrap());
    })
    .await;
}
