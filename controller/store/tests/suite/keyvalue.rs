//! Key-value namespaces.

use cofferdam_contract::KeyValueGrant;
use cofferdam_store::{KeyValueError, Namespace, Store};

use super::{on_each, organization};

async fn deploy(store: &Store, tool: &str) {
    store.deploy_tool(&super::tools::row(tool, "sha256:1"), &[tool.to_owned()], 10).await.unwrap();
}

#[tokio::test]
async fn values_stay_within_their_grant() {
    on_each(async |_, store| {
        let organization = organization();
        let space = Namespace { organization: &organization, owner: "tool" };
        deploy(store, "tool").await;
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
        // The namespace is deleted with its tool, and its quotas are free again.
        assert!(store.delete_tool(&organization, "tool").await.unwrap());
        deploy(store, "tool").await;
        assert_eq!(store.list_values(&space, "b", "", 10).await.unwrap(), Vec::<String>::new());
        let all = KeyValueGrant { max_bytes: 7, max_keys: 1 };
        store.set_value(&space, &all, "b", "k", "YWJjZGVm").await.unwrap();
        assert!(store.delete_tool(&organization, "tool").await.unwrap());
    })
    .await;
}

/// Several writers of one key at once, as two controllers on one database are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn increments_at_once_are_all_counted() {
    on_each(async |_, store| {
        deploy(store, "race").await;
        let work = |_| {
            let (store, organization) = (store.clone(), organization());
            tokio::spawn(async move {
                let space = Namespace { organization: &organization, owner: "race" };
                for _ in 0..10 {
                    store.increment_value(&space, &KeyValueGrant::default(), "b", "n", 1).await.unwrap();
                }
            })
        };
        futures_util::future::join_all((0..8).map(work)).await.into_iter().for_each(|done| done.unwrap());
        let organization = organization();
        let space = Namespace { organization: &organization, owner: "race" };
        assert_eq!(store.increment_value(&space, &KeyValueGrant::default(), "b", "n", 0).await.unwrap(), 80);
    })
    .await;
}
