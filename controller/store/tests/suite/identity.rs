//! Keys' terms, organizations and the audit log, on each database.

use cofferdam_contract::OrganizationId;
use cofferdam_core::{OrganizationLimits, now};
use cofferdam_store::{
    Added, AuditQuery, AuditRow, KeyChanged, KeyRow, KeyTerms, OldText, OrganizationDeleted, OrganizationRow,
};

use super::records::key;
use super::{on_each, organization, stranger};

fn row(id: &str) -> OrganizationRow {
    OrganizationRow {
        id: OrganizationId::parse(id).unwrap(),
        name: "Acme".to_owned(),
        limits: OrganizationLimits { requests_per_minute: Some(7), ..OrganizationLimits::default() },
        disabled_at: None,
        created_at: 5,
    }
}

fn first_key(organization: &OrganizationRow) -> KeyRow {
    let id = format!("key_of_{}", organization.id);
    KeyRow { organization: organization.id.clone(), scopes: "admin".to_owned(), ..key(&id, &format!("hash of {id}")) }
}

#[tokio::test]
async fn a_key_changes_only_as_it_was_read() {
    on_each(async |_, store| {
        let terms = KeyTerms { expires_at: Some(now() + 50), requests_per_minute: Some(3), ..KeyTerms::default() };
        let before = KeyRow { terms, ..key("key_a", "h1") };
        assert_eq!(store.add_key(&before, 10).await.unwrap(), Added::Done);
        let mut after = KeyRow { hash: "h2".into(), name: "b".into(), ..before.clone() };
        after.terms.rotations = 1;
        after.terms.old = Some(OldText { hash: "h1".into(), expires_at: now() + 10 });
        assert_eq!(store.change_key(&before, Some(&after)).await.unwrap(), KeyChanged::Done);
        assert_eq!(store.change_key(&before, Some(&after)).await.unwrap(), KeyChanged::Raced);
        for hash in ["h1", "h2"] {
            assert_eq!(store.key_by_hash(hash).await.unwrap().unwrap().row, after);
        }
        let elsewhere = KeyRow { organization: stranger(), ..after.clone() };
        assert_eq!(store.change_key(&elsewhere, None).await.unwrap(), KeyChanged::Raced);
        assert_eq!(store.key(&stranger(), "key_a").await.unwrap(), None);
        store.note_key_uses(&[("key_a".to_owned(), 70), ("none".to_owned(), 80)]).await.unwrap();
        store.note_key_uses(&[("key_a".to_owned(), 60)]).await.unwrap();
        store.note_key_uses(&[]).await.unwrap();
        let found = store.key(&organization(), "key_a").await.unwrap().unwrap();
        assert_eq!(found.terms.last_used_at, Some(70), "a last use never goes back");
        // A use is no change that others have to have read.
        assert_eq!(store.change_key(&after, None).await.unwrap(), KeyChanged::Done);
        let changed = store.changed_keys(now() - 5).await.unwrap();
        assert!(changed.iter().any(|state| state.row.id == "key_a" && state.revoked));
        assert!(store.changed_keys(now() + 5).await.unwrap().is_empty());
        let many: Vec<(String, i64)> = (0..450).map(|n| (format!("key_{n}"), n)).collect();
        store.note_key_uses(&many).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_organization_lives_once() {
    on_each(async |_, store| {
        let acme = row("acme");
        let admin = first_key(&acme);
        assert_eq!(store.add_organization(&acme, &admin, 2).await.unwrap(), Added::Done);
        assert_eq!(store.add_organization(&acme, &first_key(&acme), 9).await.unwrap(), Added::Taken);
        assert_eq!(store.add_organization(&row("b"), &first_key(&row("b")), 2).await.unwrap(), Added::Full);
        assert_eq!(store.organization(&acme.id).await.unwrap().as_ref(), Some(&acme));
        assert_eq!(store.change_key(&admin, None).await.unwrap(), KeyChanged::LastAdmin);
        let expired = KeyRow {
            terms: KeyTerms { expires_at: Some(1), ..KeyTerms::default() },
            id: "key_x".into(),
            hash: "x".into(),
            ..admin.clone()
        };
        store.add_key(&expired, 9).await.unwrap();
        assert_eq!(store.change_key(&admin, None).await.unwrap(), KeyChanged::LastAdmin, "one that is over is none");
        let disabled = OrganizationRow { disabled_at: Some(9), name: "B".into(), ..acme.clone() };
        assert!(store.change_organization(&disabled).await.unwrap());
        assert!(store.key_by_hash(&admin.hash).await.unwrap().unwrap().closed);
        assert!(!store.all_keys(99).await.unwrap().iter().any(|state| state.row.id == admin.id));
        assert!(store.change_organization(&acme).await.unwrap());
        let state = store.key_by_hash(&admin.hash).await.unwrap().unwrap();
        assert_eq!((state.closed, state.limits), (false, acme.limits));
        assert_eq!(store.organizations("", 9).await.unwrap().len(), 2);
        assert_eq!(store.organizations("acme", 9).await.unwrap().len(), 1);
        assert_eq!(store.delete_organization(&acme.id, false).await.unwrap(), OrganizationDeleted::Done);
        assert_eq!(store.delete_organization(&acme.id, true).await.unwrap(), OrganizationDeleted::Missing);
        assert_eq!(store.organization(&acme.id).await.unwrap(), None);
        let state = store.key_by_hash(&admin.hash).await.unwrap().unwrap();
        assert!(state.revoked && state.closed);
        assert_eq!(
            store.add_organization(&acme, &KeyRow { id: "key_y".into(), hash: "y".into(), ..admin }, 9).await.unwrap(),
            Added::Taken
        );
    })
    .await;
}

#[tokio::test]
async fn entries_of_the_audit_log_are_bounded_by_kind() {
    on_each(async |_, store| {
        let entry = |n: i64, outcome: &str, organization: OrganizationId| AuditRow {
            id: format!("aud_{n:05}"),
            organization,
            at_ms: n,
            key: "k".to_owned(),
            action: "key.create".to_owned(),
            target: "'t'".to_owned(),
            outcome: outcome.to_owned(),
            address: String::new(),
            detail: "{}".to_owned(),
        };
        let mut rows: Vec<AuditRow> = (0..250).map(|n| entry(n, "done", organization())).collect();
        rows.extend((250..300).map(|n| entry(n, "refused", organization())));
        rows.push(entry(300, "done", stranger()));
        store.add_audit(&rows).await.unwrap();
        store.add_audit(&rows[..3]).await.unwrap();
        store.add_audit(&[]).await.unwrap();
        let all = AuditQuery::default();
        assert_eq!(store.audit(&organization(), &all, 1_000).await.unwrap().len(), 300, "each once");
        assert_eq!(store.audit(&stranger(), &all, 9).await.unwrap(), rows[300..]);
        let between = AuditQuery { after: "aud_00010".into(), before: "aud_00013".into(), ..AuditQuery::default() };
        assert_eq!(store.audit(&organization(), &between, 9).await.unwrap(), [rows[12].clone(), rows[11].clone()]);
        for (action, found) in [("key", 9), ("key.create", 9), ("ke", 0), ("key.creat", 0), ("%", 0), ("key_create", 0)]
        {
            let by = AuditQuery { action: action.into(), key: "k".into(), ..AuditQuery::default() };
            assert_eq!(store.audit(&organization(), &by, 9).await.unwrap().len(), found, "{action}");
        }
        assert_eq!(store.sweep_audit(0, false, 100).await.unwrap(), 150);
        assert_eq!(store.sweep_audit(0, true, 10).await.unwrap(), 40);
        assert_eq!(store.sweep_audit(0, true, 10).await.unwrap(), 0);
        let left = store.audit(&organization(), &all, 1_000).await.unwrap();
        assert_eq!((left.len(), left[0].at_ms, left[109].at_ms), (110, 299, 150));
        assert_eq!(store.sweep_audit(200, false, 1_000).await.unwrap(), 50);
    })
    .await;
}
