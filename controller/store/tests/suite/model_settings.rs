//! Documents of model settings, and the numbers by which other processes see their changes.

use std::collections::BTreeSet;

use cofferdam_contract::OrganizationId;
use cofferdam_store::{ModelSettingRow, Put, Store};

use super::{on_each, organization, stranger};

const MANY: u64 = 1 << 20;

fn row(organization: &OrganizationId, kind: &str, name: &str, value: &str) -> ModelSettingRow {
    ModelSettingRow {
        organization: organization.clone(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        value: value.to_owned(),
        sealed: None,
        created_at: 5,
        updated_at: 5,
    }
}

#[tokio::test]
async fn documents_are_put_found_and_deleted_within_their_organization() {
    on_each(async |_, store| {
        store.ensure_organization(&stranger()).await.unwrap();
        let mine = row(&organization(), "upstream", "eu", r#"{"kind":"openai"}"#);
        assert_eq!(store.put_model_setting(&mine, 10, MANY).await.unwrap(), Put::Added);
        let theirs = ModelSettingRow { sealed: Some("v1.x".into()), ..row(&stranger(), "upstream", "eu", "{}") };
        assert_eq!(store.put_model_setting(&theirs, 10, MANY).await.unwrap(), Put::Added);
        let found = store.model_setting(&organization(), "upstream", "eu").await.unwrap();
        assert_eq!(found, Some(mine.clone()));
        assert_eq!(store.model_setting(&organization(), "alias", "eu").await.unwrap(), None);

        let changed = ModelSettingRow { value: "{ }".into(), created_at: 9, updated_at: 9, ..mine.clone() };
        assert_eq!(store.put_model_setting(&changed, 10, MANY).await.unwrap(), Put::Replaced { created_at: 5 });
        let expected = ModelSettingRow { created_at: 5, ..changed };
        assert_eq!(store.model_settings(&organization()).await.unwrap().rows, [expected]);

        assert!(store.delete_model_setting(&organization(), "upstream", "eu").await.unwrap());
        assert!(!store.delete_model_setting(&organization(), "upstream", "eu").await.unwrap());
        assert_eq!(store.model_settings(&stranger()).await.unwrap().rows, std::slice::from_ref(&theirs));
        assert_eq!(store.model_settings_of(&stranger(), "upstream").await.unwrap(), [theirs]);
        assert_eq!(store.model_settings_of(&stranger(), "alias").await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn the_limit_is_for_each_kind_and_holds_under_concurrency() {
    on_each(async |_, store| {
        let puts = (0..8).map(|number| {
            let row = row(&organization(), "rule", &format!("r{number}"), "{}");
            let store = store.clone();
            tokio::spawn(async move { store.put_model_setting(&row, 3, MANY).await.unwrap() })
        });
        let mut added = 0;
        for put in puts.collect::<Vec<_>>() {
            added += usize::from(put.await.unwrap() == Put::Added);
        }
        assert_eq!(added, 3);
        assert_eq!(
            store.put_model_setting(&row(&organization(), "rule", "more", "{}"), 3, MANY).await.unwrap(),
            Put::Full
        );
        assert_eq!(
            store.put_model_setting(&row(&organization(), "alias", "a", "{}"), 3, MANY).await.unwrap(),
            Put::Added
        );
        let name = store.model_settings(&organization()).await.unwrap().rows[1].name.clone();
        let again = store.put_model_setting(&row(&organization(), "rule", &name, "[]"), 3, MANY).await.unwrap();
        assert_eq!(again, Put::Replaced { created_at: 5 }, "replacing needs no room");
    })
    .await;
}

#[tokio::test]
async fn all_documents_of_an_organization_have_a_size_together() {
    on_each(async |_, store| {
        store.ensure_organization(&stranger()).await.unwrap();
        let put = async |organization, kind: &str, name: &str, length: usize| {
            let row = row(organization, kind, name, &"é".repeat(length));
            store.put_model_setting(&row, 10, 100).await.unwrap()
        };
        let mine = organization();
        assert_eq!(put(&mine, "rule", "a", 60).await, Put::Added);
        assert_eq!(put(&mine, "alias", "a", 41).await, Put::Full);
        assert_eq!(put(&mine, "alias", "a", 40).await, Put::Added);
        assert_eq!(put(&mine, "rule", "a", 61).await, Put::Full);
        assert_eq!(put(&mine, "rule", "a", 10).await, Put::Replaced { created_at: 5 });
        assert_eq!(put(&mine, "rule", "b", 50).await, Put::Added);
        assert_eq!(put(&stranger(), "rule", "a", 100).await, Put::Added);
    })
    .await;
}

async fn revision_of(store: &Store, organization: &OrganizationId) -> u64 {
    store.model_settings(organization).await.unwrap().revision
}

#[tokio::test]
async fn every_change_has_a_number_and_no_change_is_missed() {
    on_each(async |_, store| {
        store.ensure_organization(&stranger()).await.unwrap();
        assert_eq!(store.model_revision().await.unwrap(), 0);
        assert_eq!(revision_of(store, &organization()).await, 0);
        store.put_model_setting(&row(&organization(), "rule", "a", "{}"), 3, MANY).await.unwrap();
        store.put_model_setting(&row(&stranger(), "rule", "a", "{}"), 3, MANY).await.unwrap();
        let changed = store.changed_model_settings(0).await.unwrap();
        assert_eq!(changed, [(organization(), 1), (stranger(), 2)]);
        assert!(store.delete_model_setting(&organization(), "rule", "a").await.unwrap());
        assert!(!store.delete_model_setting(&organization(), "rule", "a").await.unwrap(), "no change, no number");
        assert_eq!(store.changed_model_settings(2).await.unwrap(), [(organization(), 3)]);
        store.touch_model_settings(&stranger()).await.unwrap();
        assert_eq!(store.changed_model_settings(3).await.unwrap(), [(stranger(), 4)]);
        assert_eq!((store.model_revision().await.unwrap(), revision_of(store, &stranger()).await), (4, 4));
        assert_eq!(store.changed_model_settings(4).await.unwrap(), []);
    })
    .await;
}

/// One reader looks while many write: it sees every organization's last change, although it never looks back.
#[tokio::test]
async fn a_reader_that_only_looks_forward_sees_every_writer() {
    on_each(async |_, store| {
        let organizations: Vec<_> = (0..6).map(|n| OrganizationId::parse(&format!("org-{n}")).unwrap()).collect();
        for organization in &organizations {
            store.ensure_organization(organization).await.unwrap();
        }
        let writers = organizations.iter().map(|organization| {
            let (store, row) = (store.clone(), row(organization, "rule", "a", "{}"));
            tokio::spawn(async move {
                for _ in 0..5 {
                    store.put_model_setting(&row, 3, MANY).await.unwrap();
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        let mut seen = std::collections::BTreeMap::new();
        let mut after = 0;
        while after < 30 {
            let changed = store.changed_model_settings(after).await.unwrap();
            for (organization, revision) in changed {
                assert!(revision > after || seen.contains_key(&organization));
                after = after.max(revision);
                seen.insert(organization, revision);
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(seen.keys().cloned().collect::<BTreeSet<_>>(), organizations.iter().cloned().collect());
        for (organization, revision) in seen {
            assert_eq!(revision, revision_of(store, &organization).await, "{organization}");
        }
    })
    .await;
}
