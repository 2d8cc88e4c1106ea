//! The audit log over a real store.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;

use cofferdam_contract::OrganizationId;
use cofferdam_core::{Caller, Scope, Scopes, now_ms};
use cofferdam_identity::{Audit, AuditConfig, AuditFilter, Keyring, Outcome, Refusal, SERVE_KEY};
use cofferdam_store::{DatabaseConfig, Store};
use serde_json::json;

#[tokio::test]
async fn the_audit_log_has_every_change_once_in_order_and_a_flood_as_a_few() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&DatabaseConfig::sqlite(&folder.path().join("a.db"))).await.unwrap();
    let keyring = Arc::new(Keyring::load(store.clone()).await.unwrap());
    let of = |organization| Caller::new(SERVE_KEY, organization, Scopes::new(vec![Scope::Admin]));
    let operator = of(OrganizationId::default_organization());
    let stranger = of(OrganizationId::parse("other").unwrap());
    let config = AuditConfig { max_changes: 5, max_refusals: 3, ..AuditConfig::default() };
    let audit = Audit::new(store.clone(), Arc::clone(&keyring), config);
    let address = Some("192.0.2.7".parse().unwrap());
    for number in 0..8 {
        let (action, target) = (if number % 2 == 0 { "key.create" } else { "keys" }, format!("key_{number}\0\n"));
        let ticket =
            audit.note(&operator, address, action, &target, Outcome::Done, &json!({"name": "a\0", "n": number}));
        audit.written(ticket).await;
    }
    let none = AuditFilter::default;
    let list = async |caller: &Caller, filter: AuditFilter, limit| audit.list(caller, filter, limit).await.unwrap();
    let all = list(&operator, none(), 100).await;
    let targets: Vec<&str> = all.entries.iter().map(|entry| entry.target.as_str()).collect();
    assert_eq!(targets, ["key_7", "key_6", "key_5", "key_4", "key_3", "key_2", "key_1", "key_0"]);
    assert_eq!((all.entries[0].address.as_str(), all.entries[0].outcome.as_str()), ("192.0.2.7", "done"));
    assert!(all.entries[0].at_ms <= now_ms() && all.entries[0].key == SERVE_KEY);
    let page = list(&operator, none(), 3).await;
    let next = list(&operator, AuditFilter { before: page.next, ..none() }, 3).await;
    assert_eq!(next.entries, all.entries[3..6]);
    let newer = list(&operator, AuditFilter { after: Some(all.entries[2].id.clone()), ..none() }, 9).await;
    assert_eq!(newer.entries, all.entries[..2]);
    let keys = list(&operator, AuditFilter { action: Some("key".into()), ..none() }, 9).await;
    assert_eq!(keys.entries.len(), 4, "`key` finds `key.create`, not `keys`");
    let nobody = list(&operator, AuditFilter { key: Some("key_x".into()), ..none() }, 9).await;
    assert!(nobody.entries.is_empty() && list(&stranger, none(), 9).await.entries.is_empty());

    // A flood of unknown keys hides no refusal of a known one.
    for number in 0..50_000_u32 {
        let refusal = Refusal::unknown("unknown", Some(number.to_be_bytes().into()));
        keyring.refusals().count(refusal);
    }
    keyring.refusals().count(Refusal::of("key_a", &stranger.organization, "expired", address));
    audit.note_refusals();
    let last = audit.note(&operator, None, "key.create", "", Outcome::Unknown, &json!({"long": "x".repeat(20_000)}));
    audit.written(last).await;
    let refused = list(&operator, AuditFilter { action: Some("authentication".into()), ..none() }, 1_000).await;
    assert!((101..=102).contains(&refused.entries.len()), "{}", refused.entries.len());
    let own = list(&stranger, none(), 9).await.entries;
    assert_eq!((own.len(), own[0].key.as_str(), own[0].outcome.as_str()), (1, "key_a", "refused"));
    assert!(own[0].detail.contains("\"times\":1") && own[0].detail.contains("expired"), "{}", own[0].detail);
    let newest = list(&operator, none(), 1).await;
    assert!(newest.entries[0].detail.len() < 100, "a detail has a bound");
    // A flood of refused callers pushes no change out.
    store.sweep_audit(0, true, config.max_refusals).await.unwrap();
    store.sweep_audit(0, false, config.max_changes).await.unwrap();
    let left = list(&operator, none(), 1_000).await.entries;
    assert_eq!(left.iter().filter(|entry| entry.outcome == "refused").count(), 3);
    assert_eq!(left.iter().filter(|entry| entry.outcome == "done").count(), 4, "and one that is unknown");
    store.sweep_audit(now_ms() + 1, false, 100).await.unwrap();
    assert!(list(&operator, none(), 9).await.entries.is_empty(), "too old");
}
