//! Organizations and keys' terms over a real store, as two controllers see them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::{Language, OrganizationId, SessionId};
use cofferdam_core::{Caller, Failure, OrganizationLimits, Scope, Scopes, Secret, now};
use cofferdam_identity::{
    Ended, Found, KeyPatch, KeyRequest, Keyring, Keys, KeysConfig, NewOrganization, OrganizationPatch,
    OrganizationRequest, Organizations, SERVE_KEY, accept_serve_key,
};
use cofferdam_store::{DatabaseConfig, MaxSessions, SessionRow, Store};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Longer than any controller may take to see a change.
const SEEN: Duration = Duration::from_millis(1_500);

/// One process of two on a store.
struct Process {
    keyring: Arc<Keyring>,
    keys: Keys,
    organizations: Organizations,
}

impl Process {
    async fn new(store: &Store) -> Self {
        let keyring = Arc::new(Keyring::load(store.clone()).await.unwrap());
        Self {
            keys: Keys::new(store.clone(), Arc::clone(&keyring), KeysConfig::default()),
            organizations: Organizations::new(store.clone(), Arc::clone(&keyring)),
            keyring,
        }
    }

    async fn caller(&self, text: &Secret) -> Arc<Caller> {
        self.keyring.find(text.expose()).await.unwrap().unwrap()
    }
}

struct Rig {
    here: Process,
    elsewhere: Process,
    store: Store,
    operator: Arc<Caller>,
    stop: CancellationToken,
    _folder: TempDir,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn rig() -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&DatabaseConfig::sqlite(&folder.path().join("a.db"))).await.unwrap();
    let text = Secret::new("the key of the operator");
    accept_serve_key(Some(&text), folder.path(), &store).await.unwrap();
    let (here, elsewhere) = (Process::new(&store).await, Process::new(&store).await);
    let stop = CancellationToken::new();
    tokio::spawn(Arc::clone(&here.keyring).keep_fresh(stop.clone()));
    tokio::spawn(Arc::clone(&elsewhere.keyring).keep_fresh(stop.clone()));
    let operator = here.caller(&text).await;
    Rig { here, elsewhere, store, operator, stop, _folder: folder }
}

impl Rig {
    async fn organization(&self, id: &str) -> NewOrganization {
        let request = OrganizationRequest { id: Some(id.to_owned()), ..OrganizationRequest::default() };
        self.here.organizations.create(&self.operator, request).await.unwrap()
    }
}

fn named(name: &str, scopes: &[Scope]) -> KeyRequest {
    KeyRequest { name: name.to_owned(), scopes: scopes.to_vec(), ..KeyRequest::default() }
}

fn kind<T, E: Failure>(result: Result<T, E>) -> String {
    result.err().unwrap().refused().unwrap().kind().to_owned()
}

#[tokio::test]
async fn a_rotated_key_has_two_texts_for_its_grace() {
    let rig = rig().await;
    let (row, first) = rig.here.keys.create(&rig.operator, named("ci", &[Scope::Run])).await.unwrap();
    let old = rig.elsewhere.caller(&first).await;
    let under_way = rig.elsewhere.keyring.watch(&old);
    let (rotated, second) = rig.here.keys.rotate(&rig.operator, &row.id, None).await.unwrap();
    assert_eq!((&rotated.id, rotated.terms.old.as_ref().unwrap().expires_at > now() + 86_000), (&row.id, true));
    let (new, old) = (rig.here.caller(&second).await, rig.here.caller(&first).await);
    assert!(new.key == old.key && new.text != old.text && new.expires_at.is_none() && old.expires_at.is_some());
    // Whoever still has the old text cannot give itself the new one.
    let admin = Caller { scopes: Scopes::new(vec![Scope::Admin]), ..(*old).clone() };
    assert_eq!(kind(rig.here.keys.rotate(&admin, &row.id, None).await), "forbidden");
    tokio::time::sleep(SEEN).await;
    assert!(!under_way.is_cancelled(), "the old text's requests go on");
    // At once: the text in its grace and the one before it.
    let (_, third) = rig.here.keys.rotate(&rig.operator, &row.id, Some(0)).await.unwrap();
    for ended in [&first, &second] {
        assert!(rig.here.keyring.find(ended.expose()).await.unwrap().is_none());
    }
    tokio::time::timeout(SEEN, under_way.cancelled()).await.unwrap();
    assert_eq!(rig.elsewhere.caller(&third).await.key, row.id);
    let found = rig.elsewhere.keyring.look(second.expose()).await.unwrap();
    assert!(matches!(found, Found::Ended { why: Ended::Rotated, .. }), "{found:?}");
    assert_eq!(rig.elsewhere.keyring.look(first.expose()).await.unwrap(), Found::Unknown);
    assert_eq!(kind(rig.here.keys.rotate(&rig.operator, &row.id, Some(u64::MAX)).await), "invalid-request");
}

#[tokio::test]
async fn a_key_that_is_over_ends_what_it_has_under_way_everywhere() {
    let rig = rig().await;
    let request = KeyRequest { ttl_s: Some(2), ..named("short", &[Scope::Run]) };
    let (_, text) = rig.here.keys.create(&rig.operator, request).await.unwrap();
    let watches = [&rig.here, &rig.elsewhere].map(|process| async {
        let caller = process.caller(&text).await;
        process.keyring.watch(&caller)
    });
    let [here, elsewhere] = watches;
    let (here, elsewhere) = (here.await, elsewhere.await);
    let over = Duration::from_secs(2) + SEEN;
    tokio::time::timeout(over, here.cancelled()).await.unwrap();
    tokio::time::timeout(SEEN, elsewhere.cancelled()).await.unwrap();
    for process in [&rig.here, &rig.elsewhere] {
        let found = process.keyring.look(text.expose()).await.unwrap();
        assert!(matches!(found, Found::Ended { why: Ended::Expired, .. }), "{found:?}");
    }
}

#[tokio::test]
async fn a_key_gives_no_more_than_it_has() {
    let rig = rig().await;
    let keys = &rig.here.keys;
    let narrow = KeyRequest { ttl_s: Some(1_000), requests_per_minute: Some(60), ..named("n", &[Scope::Admin]) };
    let (own, text) = keys.create(&rig.operator, narrow).await.unwrap();
    let caller = rig.here.caller(&text).await;
    let (child, _) = keys.create(&caller, named("child", &[Scope::Admin])).await.unwrap();
    assert_eq!((child.terms.expires_at, child.terms.requests_per_minute), (own.terms.expires_at, Some(60)));
    assert_eq!(child.terms.created_by, own.id);
    for more in [
        KeyRequest { ttl_s: Some(5_000), ..named("x", &[Scope::Run]) },
        KeyRequest { requests_per_minute: Some(61), ..named("x", &[Scope::Run]) },
        KeyRequest { operator: true, ..named("x", &[Scope::Admin]) },
    ] {
        assert_eq!(kind(keys.create(&caller, more).await), "forbidden");
    }
    let run = Caller { scopes: Scopes::new(vec![Scope::Run]), ..(*caller).clone() };
    assert_eq!(kind(keys.create(&run, named("x", &[Scope::Deploy])).await), "forbidden");
    assert!(keys.create(&run, named("x", &[Scope::Invoke, Scope::Read])).await.is_ok());
    // Neither for itself, nor by the text of another key.
    let longer = KeyPatch { ttl_s: Some(None), ..KeyPatch::default() };
    assert_eq!(kind(keys.patch(&caller, &own.id, &longer).await), "forbidden");
    let oftener = KeyPatch { requests_per_minute: Some(None), ..KeyPatch::default() };
    assert_eq!(kind(keys.patch(&caller, &own.id, &oftener).await), "forbidden");
    let (wide, _) = keys.create(&rig.operator, named("wide", &[Scope::Admin])).await.unwrap();
    assert_eq!(kind(keys.rotate(&caller, &wide.id, None).await), "forbidden");
    let second = KeyRequest { operator: true, ..named("second operator", &[Scope::Admin]) };
    let (operator, _) = keys.create(&rig.operator, second).await.unwrap();
    let plain = Caller::new("key_a", OrganizationId::default_organization(), Scopes::new(vec![Scope::Admin]));
    assert_eq!(kind(keys.rotate(&plain, &operator.id, None).await), "forbidden");
    assert_eq!(kind(keys.revoke(&plain, &operator.id).await), "forbidden");
    let lower = KeyPatch { scopes: Some(vec![Scope::Run]), ..KeyPatch::default() };
    assert_eq!(kind(keys.patch(&rig.operator, &operator.id, &lower).await), "invalid-request");
    for (patch, id) in [(&lower, SERVE_KEY), (&longer, SERVE_KEY)] {
        assert_eq!(kind(keys.patch(&rig.operator, id, patch).await), "conflict");
    }
    for wrong in [
        KeyRequest { ttl_s: Some(0), ..named("x", &[Scope::Run]) },
        KeyRequest { ttl_s: Some(u64::MAX), ..named("x", &[Scope::Run]) },
        KeyRequest { requests_per_minute: Some(0), ..named("x", &[Scope::Run]) },
        KeyRequest { operator: true, ..named("x", &[Scope::Run]) },
        named("a\u{202e}b", &[Scope::Run]),
    ] {
        assert_eq!(kind(keys.create(&rig.operator, wrong).await), "invalid-request");
    }
}

#[tokio::test]
async fn a_narrowed_key_loses_what_it_has_under_way_elsewhere() {
    let rig = rig().await;
    let (row, text) = rig.here.keys.create(&rig.operator, named("n", &[Scope::Run, Scope::Deploy])).await.unwrap();
    let watch = rig.elsewhere.keyring.watch(&*rig.elsewhere.caller(&text).await);
    let rate = KeyPatch { requests_per_minute: Some(Some(5)), name: Some("m".into()), ..KeyPatch::default() };
    let patched = rig.here.keys.patch(&rig.operator, &row.id, &rate).await.unwrap();
    assert_eq!(patched.name, "m");
    tokio::time::sleep(SEEN).await;
    assert!(!watch.is_cancelled(), "it may do the same as before");
    assert_eq!(rig.elsewhere.caller(&text).await.limits.key_requests_per_minute, Some(5));
    let less = KeyPatch { scopes: Some(vec![Scope::Read]), ..KeyPatch::default() };
    rig.here.keys.patch(&rig.operator, &row.id, &less).await.unwrap();
    assert!(!rig.here.caller(&text).await.scopes.cover(Scope::Run), "here at once");
    tokio::time::timeout(SEEN, watch.cancelled()).await.unwrap();
    assert!(!rig.elsewhere.caller(&text).await.scopes.cover(Scope::Run));
}

#[tokio::test]
async fn organizations_are_apart() {
    let rig = rig().await;
    let (a, b) = (rig.organization("a").await, rig.organization("b").await);
    let (of_a, of_b) = (rig.here.caller(&a.text).await, rig.here.caller(&b.text).await);
    let keys = &rig.here.keys;
    assert_eq!(kind(keys.patch(&of_a, &b.key.id, &KeyPatch::default()).await), "not-found");
    assert_eq!(kind(keys.rotate(&of_a, &b.key.id, None).await), "not-found");
    assert_eq!(kind(keys.revoke(&of_a, &b.key.id).await), "not-found");
    assert_eq!(kind(keys.find(&of_a, &b.key.id).await), "not-found");
    let organizations = &rig.here.organizations;
    assert_eq!(kind(organizations.find(&of_a, "b").await), "not-found");
    assert_eq!(kind(organizations.patch(&of_a, "b", OrganizationPatch::default()).await), "not-found");
    assert_eq!(kind(organizations.delete(&of_a, "b", true).await), "not-found");
    for own in [
        organizations.patch(&of_a, "a", OrganizationPatch::default()).await.map(drop),
        organizations.delete(&of_a, "a", true).await,
        organizations.give_key(&of_a, "a").await.map(drop),
        organizations.create(&of_a, OrganizationRequest::default()).await.map(drop),
    ] {
        assert_eq!(kind(own), "forbidden");
    }
    let ids = |page: cofferdam_identity::OrganizationPage| {
        page.organizations.into_iter().map(|row| row.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(organizations.list(&of_a, "", 10).await.unwrap()), ["a"]);
    assert_eq!(ids(organizations.list(&rig.operator, "", 10).await.unwrap()), ["a", "b", "default"]);
    let page = organizations.list(&rig.operator, "", 2).await.unwrap();
    assert_eq!(page.next.as_deref(), Some("b"));
    assert_eq!(ids(organizations.list(&rig.operator, "b", 2).await.unwrap()), ["default"]);
    // The last key with the scope `admin` stays one.
    assert_eq!(kind(keys.revoke(&of_b, &b.key.id).await), "conflict");
    let less = KeyPatch { scopes: Some(vec![Scope::Run]), ..KeyPatch::default() };
    assert_eq!(kind(keys.patch(&of_b, &b.key.id, &less).await), "conflict");
    let (second, _) = organizations.give_key(&rig.operator, "b").await.unwrap();
    keys.revoke(&of_b, &b.key.id).await.unwrap();
    let heir = Caller { key: second.id.clone(), ..(*of_b).clone() };
    assert_eq!(kind(keys.revoke(&heir, &second.id).await), "conflict");
}

#[tokio::test]
async fn ids_are_given_out_once_and_default_stays() {
    let rig = rig().await;
    let organizations = &rig.here.organizations;
    rig.organization("acme").await;
    let create = |id: &str, name: Option<&str>| {
        let request = OrganizationRequest {
            id: Some(id.to_owned()),
            name: name.map(str::to_owned),
            limits: OrganizationLimits::default(),
        };
        organizations.create(&rig.operator, request)
    };
    for (id, name, refusal) in [
        ("acme", None, "conflict"),
        ("default", None, "conflict"),
        ("Acme", None, "invalid-request"),
        ("v1", None, "invalid-request"),
        ("operator", None, "invalid-request"),
        ("", None, "invalid-request"),
        ("a\u{430}", None, "invalid-request"),
        ("a/b", None, "invalid-request"),
        ("ok", Some("a\u{200b}"), "invalid-request"),
        ("ok", Some("\u{1b}[2J"), "invalid-request"),
    ] {
        assert_eq!(kind(create(id, name).await), refusal, "{id:?} {name:?}");
    }
    let random = organizations.create(&rig.operator, OrganizationRequest::default()).await.unwrap();
    assert!(random.organization.id.as_str().starts_with("org_"));
    organizations.delete(&rig.operator, "acme", false).await.unwrap();
    assert_eq!(kind(create("acme", None).await), "conflict");
    assert_eq!(kind(organizations.delete(&rig.operator, "acme", false).await), "not-found");
    assert_eq!(kind(organizations.delete(&rig.operator, "default", true).await), "conflict");
    let disable = OrganizationPatch { disabled: Some(true), ..OrganizationPatch::default() };
    assert_eq!(kind(organizations.patch(&rig.operator, "default", disable).await), "conflict");
    let zero = OrganizationPatch { max_concurrent_runs: Some(Some(0)), ..OrganizationPatch::default() };
    assert_eq!(kind(organizations.patch(&rig.operator, "default", zero).await), "invalid-request");
}

#[tokio::test]
async fn a_closed_organizations_keys_end_here_and_elsewhere() {
    let rig = rig().await;
    let made = rig.organization("acme").await;
    let (here, elsewhere) = (rig.here.caller(&made.text).await, rig.elsewhere.caller(&made.text).await);
    let watches = [rig.here.keyring.watch(&here), rig.elsewhere.keyring.watch(&elsewhere)];
    let limits = OrganizationPatch {
        requests_per_minute: Some(Some(600)),
        max_concurrent_tasks: Some(Some(3)),
        ..OrganizationPatch::default()
    };
    let row = rig.here.organizations.patch(&rig.operator, "acme", limits).await.unwrap();
    assert_eq!(rig.here.caller(&made.text).await.limits.organization, row.limits, "here at once");
    tokio::time::sleep(SEEN).await;
    assert_eq!(rig.elsewhere.keyring.limits(&row.id), row.limits);
    assert_eq!(rig.elsewhere.caller(&made.text).await.limits.organization.max_concurrent_tasks, Some(3));
    assert!(watches.iter().all(|watch| !watch.is_cancelled()), "a limit ends no request");
    let disable = |disabled| OrganizationPatch { disabled: Some(disabled), ..OrganizationPatch::default() };
    rig.here.organizations.patch(&rig.operator, "acme", disable(true)).await.unwrap();
    assert!(watches[0].is_cancelled() && rig.here.keyring.find(made.text.expose()).await.unwrap().is_none());
    tokio::time::timeout(SEEN, watches[1].cancelled()).await.unwrap();
    let found = rig.elsewhere.keyring.look(made.text.expose()).await.unwrap();
    assert!(matches!(found, Found::Ended { why: Ended::Closed, .. }), "{found:?}");
    rig.here.organizations.patch(&rig.operator, "acme", disable(false)).await.unwrap();
    assert!(rig.here.keyring.find(made.text.expose()).await.unwrap().is_some(), "back again");

    let session = SessionRow {
        id: SessionId::parse("ses_a").unwrap(),
        organization: made.organization.id.clone(),
        api_key: made.key.id.clone(),
        language: Language::Python,
        worker: "w".into(),
        ttl_s: 1_000,
        limits: cofferdam_contract::Limits::DEFAULT,
        grants: cofferdam_contract::Grants::default(),
        created_at: now(),
        last_used_at: now(),
        ends_at: now() + 1_000,
    };
    rig.store.insert_sessions(&[session], MaxSessions { every: 10, own: 10 }).await.unwrap();
    let refused = rig.here.organizations.delete(&rig.operator, "acme", false).await;
    let words = refused.as_ref().unwrap_err().to_string();
    assert!(kind(refused) == "conflict" && words.contains("1 sessions"), "{words}");
    rig.here.organizations.delete(&rig.operator, "acme", true).await.unwrap();
    assert!(rig.here.keyring.find(made.text.expose()).await.unwrap().is_none());
}

#[tokio::test]
async fn the_last_use_is_shown_at_once_and_written_later() {
    let rig = rig().await;
    let (row, text) = rig.here.keys.create(&rig.operator, named("ci", &[Scope::Run])).await.unwrap();
    assert_eq!(rig.here.keys.find(&rig.operator, &row.id).await.unwrap().terms.last_used_at, None);
    rig.here.caller(&text).await;
    let used = |process| {
        let process: &Process = process;
        let (caller, id) = (Arc::clone(&rig.operator), row.id.clone());
        let keys = &process.keys;
        async move { keys.find(&caller, &id).await.unwrap().terms.last_used_at }
    };
    assert!(used(&rig.here).await.unwrap() >= now() - 2);
    assert_eq!(used(&rig.elsewhere).await, None);
    rig.here.keyring.write_uses().await;
    assert!(used(&rig.elsewhere).await.unwrap() >= now() - 2);
    rig.here.keyring.write_uses().await;
    assert!(used(&rig.elsewhere).await.is_some(), "nothing new changes nothing");
}

#[tokio::test]
async fn an_operators_key_that_ends_leaves_nothing_that_lasts_longer() {
    let rig = rig().await;
    rig.organization("acme").await;
    let request = KeyRequest {
        operator: true,
        ttl_s: Some(60),
        requests_per_minute: Some(30),
        ..named("for an hour", &[Scope::Admin])
    };
    let (_, text) = rig.here.keys.create(&rig.operator, request).await.unwrap();
    let brief = rig.here.caller(&text).await;
    let (given, _) = rig.here.organizations.give_key(&brief, "acme").await.unwrap();
    let made = rig.here.organizations.create(&brief, OrganizationRequest::default()).await.unwrap();
    for row in [given, made.key] {
        assert_eq!((row.terms.expires_at, row.terms.requests_per_minute), (brief.expires_at, Some(30)), "{row:?}");
        assert!(!row.terms.operator);
    }
    // So does a text in its time of grace, and its run tokens.
    let tokens = cofferdam_identity::RunTokens::new(rig.store.clone(), Arc::clone(&rig.here.keyring));
    let new = cofferdam_identity::NewRunToken {
        agent: "a".to_owned(),
        task: "t".to_owned(),
        ttl_s: Some(3_600),
        ..cofferdam_identity::NewRunToken::default()
    };
    let (token, _) = tokens.mint(&brief, new.clone()).await.unwrap();
    assert_eq!(Some(token.expires_at), brief.expires_at);
    let (token, _) = tokens.mint(&rig.operator, new).await.unwrap();
    assert!(token.expires_at >= now() + 3_590);
}

#[tokio::test]
async fn a_key_that_ended_while_the_store_was_away_ends_what_it_has_under_way() {
    let rig = rig().await;
    let (row, text) = rig.here.keys.create(&rig.operator, named("gone", &[Scope::Run])).await.unwrap();
    let (less, of_less) =
        rig.here.keys.create(&rig.operator, named("less", &[Scope::Run, Scope::Deploy])).await.unwrap();
    let (kept, of_kept) = rig.here.keys.create(&rig.operator, named("kept", &[Scope::Run])).await.unwrap();
    // A process that reads nothing for a while.
    let away = Process::new(&rig.store).await;
    let mut watches = Vec::new();
    for text in [&text, &of_less, &of_kept] {
        let caller = away.caller(text).await;
        watches.push(away.keyring.watch(&caller));
    }
    rig.here.keys.revoke(&rig.operator, &row.id).await.unwrap();
    let narrow = KeyPatch { scopes: Some(vec![Scope::Run]), ..KeyPatch::default() };
    rig.here.keys.patch(&rig.operator, &less.id, &narrow).await.unwrap();
    assert!(!watches[0].is_cancelled());
    // Longer than changes are looked for: only the read of all keys finds it.
    away.keyring.refresh().await.unwrap();
    assert_eq!(watches.iter().map(|watch| watch.is_cancelled()).collect::<Vec<_>>(), [true, true, false], "{kept:?}");
    assert!(away.keyring.find(of_kept.expose()).await.unwrap().is_some());
}
