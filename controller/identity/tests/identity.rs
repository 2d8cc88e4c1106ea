//! Keys and secrets over a real store.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::OrganizationId;
use cofferdam_core::{Caller, Failure, Scope, Scopes, Secret, Vault};
use cofferdam_identity::{
    KeyRequest, KeySource, Keyring, Keys, KeysConfig, NewRunToken, RUN_TOKEN_PREFIX, RunTokens, SERVE_KEY, Secrets,
    accept_serve_key, secret_hosts,
};
use cofferdam_store::{DatabaseConfig, SecretRow, Store};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

async fn store(folder: &TempDir) -> Store {
    Store::open(&DatabaseConfig::sqlite(&folder.path().join("a.db"))).await.unwrap()
}

fn caller() -> Caller {
    Caller::new(SERVE_KEY, OrganizationId::default_organization(), Scopes::new(vec![Scope::Admin]))
}

fn named(name: &str, scopes: &[Scope]) -> KeyRequest {
    KeyRequest { name: name.to_owned(), scopes: scopes.to_vec(), ..KeyRequest::default() }
}

fn kind<E: Failure>(error: &E) -> String {
    error.refused().unwrap().kind().to_owned()
}

#[tokio::test]
async fn the_key_of_serve_is_created_once_and_can_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let source = accept_serve_key(None, folder.path(), &store).await.unwrap();
    let KeySource::File(path) = source else { unreachable!("no key was given") };
    let text = std::fs::read_to_string(&path).unwrap();
    accept_serve_key(None, folder.path(), &store).await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "the key is kept");
    let keyring = Keyring::load(store.clone()).await.unwrap();
    assert_eq!(keyring.find(text.trim()).await.unwrap().unwrap().key, SERVE_KEY);
    let given = Secret::new("given");
    assert_eq!(accept_serve_key(Some(&given), folder.path(), &store).await.unwrap(), KeySource::Environment);
    keyring.refresh().await.unwrap();
    assert!(keyring.find(text.trim()).await.unwrap().is_none(), "replaced");
    assert!(keyring.find("given").await.unwrap().is_some());
}

#[tokio::test]
async fn a_key_works_from_its_creation_until_it_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let keyring = Arc::new(Keyring::load(store.clone()).await.unwrap());
    let keys = Keys::new(store.clone(), Arc::clone(&keyring), KeysConfig::default());
    accept_serve_key(Some(&Secret::new("the operator's")), folder.path(), &store).await.unwrap();
    let (row, key) = keys.create(&caller(), named("ci", &[Scope::Run, Scope::Read, Scope::Run])).await.unwrap();
    assert_eq!(row.scopes, "run,read");
    let found = keyring.find(key.expose()).await.unwrap().unwrap();
    assert!(found.key == row.id && found.scopes.cover(Scope::Read) && !found.scopes.cover(Scope::Deploy));
    assert_eq!(
        keys.list(&caller()).await.unwrap().into_iter().map(|row| row.id).collect::<Vec<_>>(),
        [row.id.clone(), SERVE_KEY.to_owned()]
    );
    let other = Keyring::load(store).await.unwrap();
    keys.revoke(&caller(), &row.id).await.unwrap();
    assert!(keyring.find(key.expose()).await.unwrap().is_none(), "at once");
    other.refresh().await.unwrap();
    assert!(other.find(key.expose()).await.unwrap().is_none(), "elsewhere after a refresh");
    assert_eq!(kind(&keys.revoke(&caller(), &row.id).await.unwrap_err()), "not-found");
    assert_eq!(kind(&keys.revoke(&caller(), SERVE_KEY).await.unwrap_err()), "conflict");
    assert_eq!(kind(&keys.create(&caller(), named(" ", &[Scope::Run])).await.unwrap_err()), "invalid-request");
    assert_eq!(kind(&keys.create(&caller(), named("x", &[])).await.unwrap_err()), "invalid-request");
}

#[tokio::test]
async fn a_secret_opens_only_for_its_name_and_hosts() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let secrets = Secrets::new(store.clone(), Arc::new(Vault::open(None, folder.path()).unwrap()));
    let (organization, value) = (OrganizationId::default_organization(), Zeroizing::new("hunter22".to_owned()));
    let hosts = ["api.example.com".to_owned()];
    let (row, new) = secrets.put(&caller(), "token", &value, &hosts).await.unwrap();
    assert!(new && !row.sealed.contains("hunter22"));
    assert!(!secrets.put(&caller(), "token", &value, &hosts).await.unwrap().1);
    assert_eq!(secrets.warn_of_another_key().await.unwrap(), 0);
    let elsewhere = tempfile::tempdir().unwrap();
    let other_key = Secrets::new(store.clone(), Arc::new(Vault::open(None, elsewhere.path()).unwrap()));
    assert_eq!(other_key.warn_of_another_key().await.unwrap(), 1, "another key is told");
    let row = secrets.find(&caller(), "token").await.unwrap();
    assert_eq!(secret_hosts(&row).unwrap().len(), 1);
    assert_eq!(secrets.open(&organization, "token").await.unwrap().unwrap().value.as_str(), "hunter22");
    assert!(secrets.open(&organization, "none").await.unwrap().is_none());
    // Bound to other hosts, or moved to another name, in the database alone.
    store.put_secret(&SecretRow { hosts: "[\"evil.example\"]".into(), ..row.clone() }, 10).await.unwrap();
    assert!(secrets.open(&organization, "token").await.is_err());
    store.put_secret(&SecretRow { name: "other".into(), ..row.clone() }, 10).await.unwrap();
    assert!(secrets.open(&organization, "other").await.is_err());
    for (name, text, hosts) in [
        ("a b", "hunter22", &hosts[..]),
        ("a", "abc", &hosts),
        ("a", "     ", &hosts),
        ("a", "hunter22", &[]),
        ("a", "hunter22", &["*".to_owned()]),
    ] {
        let refused = secrets.put(&caller(), name, &Zeroizing::new(text.to_owned()), hosts).await.err().unwrap();
        assert_eq!(kind(&refused), "invalid-request", "{name} {text}");
        assert!(!refused.to_string().contains("hunter22"), "{refused}");
    }
    secrets.delete(&caller(), "token").await.unwrap();
    assert_eq!(kind(&secrets.delete(&caller(), "token").await.unwrap_err()), "not-found");
}

fn of_task(task: &str) -> NewRunToken {
    NewRunToken { agent: "writer".to_owned(), task: task.to_owned(), ..NewRunToken::default() }
}

#[tokio::test]
async fn a_run_token_works_until_it_ends_here_and_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    accept_serve_key(None, folder.path(), &store).await.unwrap();
    let keyring = Arc::new(Keyring::load(store.clone()).await.unwrap());
    let tokens = RunTokens::new(store.clone(), Arc::clone(&keyring));
    // Another process on the same store.
    let elsewhere = Arc::new(RunTokens::new(store.clone(), Arc::new(Keyring::load(store.clone()).await.unwrap())));
    let stop = CancellationToken::new();
    let kept = tokio::spawn(Arc::clone(&elsewhere).keep(stop.clone()));

    let (row, text) = tokens.mint(&caller(), of_task("t1")).await.unwrap();
    assert!(text.expose().starts_with(RUN_TOKEN_PREFIX) && row.expires_at - row.created_at == 3_600);
    assert!(keyring.find(text.expose()).await.unwrap().is_none(), "it is no key");
    let (_, other) = tokens.mint(&caller(), of_task("t2")).await.unwrap();
    let (_, short) = tokens.mint(&caller(), NewRunToken { ttl_s: Some(1), ..of_task("t3") }).await.unwrap();
    let found = tokens.find(text.expose()).await.unwrap().unwrap();
    assert_eq!((found.agent.as_str(), found.task.as_str(), found.key.as_str()), ("writer", "t1", SERVE_KEY));
    assert!(tokens.find(&format!("{}x", text.expose())).await.unwrap().is_none());
    let mut changed = text.expose().to_owned();
    let last = changed.pop().unwrap();
    changed.push(if last == 'A' { 'B' } else { 'A' });
    assert!(tokens.find(&changed).await.unwrap().is_none());
    let there = elsewhere.find(text.expose()).await.unwrap().unwrap();
    let short_there = elsewhere.find(short.expose()).await.unwrap().unwrap();
    assert_eq!(tokens.list(&caller(), Some("t1"), "", 10).await.unwrap().tokens, std::slice::from_ref(&row));
    let page = tokens.list(&caller(), None, "", 1).await.unwrap();
    assert!(page.tokens.len() == 1 && page.next.is_some());

    let stranger = Caller { organization: OrganizationId::parse("stranger").unwrap(), ..caller() };
    assert_eq!(kind(&tokens.end(&stranger, &row.id).await.unwrap_err()), "not-found");
    assert_eq!(tokens.end_task(&stranger, "t1").await.unwrap(), 0);
    assert!(!found.ended().is_cancelled());

    assert_eq!(tokens.end_task(&caller(), "t1").await.unwrap(), 1);
    assert!(found.ended().is_cancelled() && tokens.find(text.expose()).await.unwrap().is_none(), "at once");
    let second = Duration::from_millis(1_500);
    tokio::time::timeout(second, there.ended().cancelled()).await.unwrap();
    assert!(elsewhere.find(text.expose()).await.unwrap().is_none());
    assert_eq!(kind(&tokens.end(&caller(), &row.id).await.unwrap_err()), "not-found");
    tokio::time::timeout(second * 2, short_there.ended().cancelled()).await.unwrap();
    assert!(elsewhere.find(short.expose()).await.unwrap().is_none(), "its time is over");
    assert!(tokens.find(other.expose()).await.unwrap().is_some(), "another task's lives on");
    stop.cancel();
    kept.await.unwrap();
}

#[tokio::test]
async fn a_run_token_dies_with_the_key_that_made_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let keyring = Arc::new(Keyring::load(store.clone()).await.unwrap());
    let keys = Keys::new(store.clone(), Arc::clone(&keyring), KeysConfig::default());
    let tokens = RunTokens::new(store.clone(), Arc::clone(&keyring));
    let (key, _) = keys.create(&caller(), named("loop", &[Scope::Deploy])).await.unwrap();
    let maker = Caller { key: key.id.clone(), ..caller() };
    let (_, text) = tokens.mint(&maker, of_task("t")).await.unwrap();
    let (_, unseen) = tokens.mint(&maker, of_task("t")).await.unwrap();
    let found = tokens.find(text.expose()).await.unwrap().unwrap();
    keys.revoke(&caller(), &key.id).await.unwrap();
    assert!(found.ended().is_cancelled());
    for text in [text, unseen] {
        assert!(tokens.find(text.expose()).await.unwrap().is_none());
    }
    assert!(tokens.list(&caller(), None, "", 10).await.unwrap().tokens.is_empty());
}
