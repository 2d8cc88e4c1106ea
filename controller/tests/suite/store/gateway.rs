//! Secrets and key-value namespaces.

use cofferdam_contract::{KeyValueGrant, OrganizationId};
use cofferdam_controller::store::{KeyValueError, Namespace, SecretRow, Store};

pub async fn suite(store: &Store, unique: &str) {
    secrets(store, unique).await;
    values(store, unique).await;
    races(store, unique).await;
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
    let owner = format!("tool-{unique}");
    let space = Namespace { organization: &organization, owner: &owner };
    deploy(store, &owner).await;
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
    // With its tool a namespace is gone, and its quotas are free.
    assert!(store.delete_tool(&organization, &owner).await.unwrap());
    deploy(store, &owner).await;
    assert_eq!(store.list_values(&space, "b", "", 10).await.unwrap(), Vec::<String>::new());
    let all = KeyValueGrant { max_bytes: 7, max_keys: 1 };
    store.set_value(&space, &all, "b", "k", "YWJjZGVm").await.unwrap();
    assert!(store.delete_tool(&organization, &owner).await.unwrap());
}

async fn deploy(store: &Store, tool: &str) {
    store.deploy_tool(&super::tools::row(tool, "sha256:1"), &[tool.to_owned()]).await.unwrap();
}

/// Two that change one key at once, as two controllers on one database do.
async fn races(store: &Store, unique: &str) {
    let organization = OrganizationId::default_organization();
    let owner = format!("race-{unique}");
    deploy(store, &owner).await;
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
    assert!(store.delete_tool(&organization, &owner).await.unwrap());
}
