//! Logins: discovery, registration, PKCE, codes, rotation of refresh tokens, and what attackers do with all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cofferdam_connectors::{Browser, CallError, Finished, LoginAnswer, LoginError};
use cofferdam_contract::work::{ConnectorAuth, ConnectorSpec, Sealed};
use cofferdam_testkit::database::On;
use cofferdam_testkit::mcp::{Asked, McpServer, Reply, answer, json_answer, pair, said};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::rig::{Rig, call, oauth, spec};

/// An authorization server, and the MCP server that wants its tokens.
#[derive(Default)]
struct State {
    issuer: Mutex<String>,
    /// The token that the MCP server takes now.
    access: AtomicUsize,
    /// The refresh token that is good now; the ones before are used up.
    refresh: AtomicUsize,
    expires_in: AtomicI64,
    /// Refreshes that take a while.
    slow: AtomicUsize,
    challenge: Mutex<String>,
    /// Another document, by its path.
    documents: Mutex<Vec<(String, Value)>>,
}

struct Login {
    state: Arc<State>,
    mcp: McpServer,
    server: McpServer,
}

impl Login {
    async fn new() -> Self {
        let state = Arc::new(State::default());
        state.access.store(1, Ordering::Relaxed);
        state.expires_in.store(3_600, Ordering::Relaxed);
        let of = Arc::clone(&state);
        let server = McpServer::start(move |asked| Some(authorize(&of, asked))).await;
        *state.issuer.lock() = format!("http://{}", server.address);
        let of = Arc::clone(&state);
        let mcp = McpServer::start(move |asked| protected(&of, asked)).await;
        let origin = mcp.url().trim_end_matches("/mcp").to_owned();
        let resource = json!({ "resource": mcp.url(), "authorization_servers": [state.issuer.lock().clone()],
            "scopes_supported": ["read", "write"] });
        state.documents.lock().push(("/.well-known/oauth-protected-resource/mcp".to_owned(), resource));
        *state.challenge.lock() = format!(
            "Bearer error=\"invalid_token\", resource_metadata=\"{origin}/.well-known/oauth-protected-resource/mcp\", scope=\"read\""
        );
        Self { state, mcp, server }
    }

    fn issuer(&self) -> String {
        self.state.issuer.lock().clone()
    }

    /// The answer that a good login ends with.
    fn answer(&self, url: &str) -> LoginAnswer {
        let challenge = pair(url, "code_challenge").unwrap();
        LoginAnswer {
            state: pair(url, "state"),
            code: Some(format!("code-{challenge}")),
            error: None,
            iss: Some(self.issuer()),
        }
    }

    fn refreshes(&self) -> usize {
        self.server.asked().iter().filter(|asked| asked.form("grant_type").as_deref() == Some("refresh_token")).count()
    }
}

fn protected(state: &State, asked: &Asked) -> Option<Reply> {
    if let Some((_, document)) = state.documents.lock().iter().find(|(path, _)| *path == asked.path) {
        return Some(json_answer(200, document));
    }
    if asked.path != "/mcp" {
        return Some(answer(404, &[], ""));
    }
    let good = format!("Bearer access-canary-{}", state.access.load(Ordering::Relaxed));
    if asked.header("authorization") != good {
        return Some(answer(401, &[("www-authenticate", &state.challenge.lock())], "canary"));
    }
    (asked.rpc() == "tools/call").then(|| said(asked, &format!("hello {}", asked.header("authorization"))))
}

fn metadata(issuer: &str) -> Value {
    json!({ "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"), "registration_endpoint": format!("{issuer}/register"),
        "code_challenge_methods_supported": ["S256"], "authorization_response_iss_parameter_supported": true,
        "scopes_supported": ["read", "write", "offline_access"] })
}

fn authorize(state: &State, asked: &Asked) -> Reply {
    if let Some((_, document)) = state.documents.lock().iter().find(|(path, _)| *path == asked.path) {
        return json_answer(200, document);
    }
    let issuer = state.issuer.lock().clone();
    match asked.path.as_str() {
        "/.well-known/oauth-authorization-server" => json_answer(200, &metadata(&issuer)),
        "/register" => json_answer(201, &json!({ "client_id": "registered-1", "token_endpoint_auth_method": "none" })),
        "/token" => token(state, asked),
        _ => answer(404, &[], ""),
    }
}

fn token(state: &State, asked: &Asked) -> Reply {
    let refused = |error: &str| json_answer(400, &json!({ "error": error, "error_description": "canary" }));
    if !asked.form("resource").unwrap_or_default().ends_with("/mcp") {
        return refused("invalid_target");
    }
    match asked.form("grant_type").as_deref() {
        Some("authorization_code") => {
            let verifier = asked.form("code_verifier").unwrap();
            let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
            if asked.form("code") != Some(format!("code-{challenge}")) {
                return refused("invalid_grant");
            }
        }
        Some("refresh_token") => {
            let good = format!("refresh-canary-{}", state.refresh.load(Ordering::SeqCst));
            if asked.form("refresh_token") != Some(good) {
                return refused("invalid_grant");
            }
            state.access.fetch_add(1, Ordering::SeqCst);
        }
        _ => return refused("unsupported_grant_type"),
    }
    let refresh = state.refresh.fetch_add(1, Ordering::SeqCst) + 1;
    let body = json!({ "access_token": format!("access-canary-{}", state.access.load(Ordering::SeqCst)),
        "token_type": "Bearer", "expires_in": state.expires_in.load(Ordering::Relaxed),
        "refresh_token": format!("refresh-canary-{refresh}"), "scope": "read" });
    let wait = Duration::from_millis(u64::try_from(state.slow.load(Ordering::Relaxed)).unwrap());
    let mut reply = vec![cofferdam_testkit::mcp::Step::Wait(wait)];
    reply.extend(json_answer(200, &body));
    reply
}

fn url_of(result: Result<cofferdam_connectors::ToolResult, CallError>) -> String {
    match result {
        Err(CallError::LoginRequired { url }) => url,
        other => panic!("{other:?}"),
    }
}

/// Opens a login's address as a browser does: it is shown the login, and goes on to the authorization server.
async fn open(rig: &Rig, url: &str) -> (Browser, String) {
    let (ticket, browser) = (pair(url, "login").unwrap(), Browser::new().unwrap());
    let shown = rig.connectors.show_login(&ticket, &browser).await.unwrap();
    let url = rig.connectors.go_on(&ticket, &browser, &shown.proof).await.unwrap();
    (browser, url)
}

/// Logs in at a login's address.
async fn log_in(rig: &Rig, login: &Login, url: &str) -> Result<Finished, LoginError> {
    let (browser, url) = open(rig, url).await;
    rig.connectors.finish_login(&login.answer(&url), Some(&browser)).await
}

async fn logged_in(on: On, per_person: bool) -> (Rig, Login) {
    let (rig, login) = (Rig::on(on, &["127.0.0.0/8"]).await, Login::new().await);
    rig.put(oauth(&login.mcp.url(), per_person)).await;
    let person = per_person.then_some("ann");
    let url = url_of(rig.call_of(person, "a").await);
    log_in(&rig, &login, &url).await.unwrap();
    (rig, login)
}

#[tokio::test]
async fn somebody_logs_in_once_and_calls_go_on() {
    let (rig, login) = (Rig::new().await, Login::new().await);
    rig.put(oauth(&login.mcp.url(), false)).await;
    let mut heard = rig.connectors.logins();
    let address = url_of(rig.call("a").await);
    assert!(address.starts_with("http://127.0.0.1:7070/oauth/login?login="), "{address}");
    let (browser, url) = open(&rig, &address).await;
    assert!(url.starts_with(&format!("{}/authorize?response_type=code&client_id=registered-1&", login.issuer())));
    assert_eq!(pair(&url, "code_challenge_method").as_deref(), Some("S256"));
    assert_eq!(pair(&url, "resource").unwrap(), login.mcp.url());
    assert_eq!(pair(&url, "scope").as_deref(), Some("read offline_access"));
    assert_eq!(pair(&url, "redirect_uri").as_deref(), Some("http://127.0.0.1:7070/oauth/callback"));
    assert_eq!(url_of(rig.call("a").await), address, "the same login while nobody has used it");
    let finished = rig.connectors.finish_login(&login.answer(&url), Some(&browser)).await.unwrap();
    assert_eq!((finished.connector.as_str(), &finished.person), ("x", &None));
    assert_eq!(heard.recv().await.unwrap(), finished);
    let found = rig.call("a").await.unwrap();
    assert_eq!(found.text, "hello Bearer [key]");
    // The client is registered once.
    rig.connectors.login(&rig.caller, "x", None).await.unwrap();
    assert_eq!(login.server.asked().iter().filter(|asked| asked.path == "/register").count(), 1);
    // Nothing is stored in the clear.
    let row = rig.store.connector_token(&rig.caller.organization, "x", "").await.unwrap().unwrap();
    assert!(!row.sealed.contains("canary"));
    rig.connectors.logout(&rig.caller, "x", None).await.unwrap();
    url_of(rig.call("a").await);
    // With the connector its logins are gone, also for one that comes after it under its name.
    rig.connectors.delete(&rig.caller, "x").await.unwrap();
    rig.put(oauth(&login.mcp.url(), false)).await;
    url_of(rig.call("a").await);
}

#[tokio::test]
async fn each_person_has_a_login_of_his_own() {
    let (rig, login) = logged_in(On::Sqlite, true).await;
    assert!(rig.call_of(Some("ann"), "a").await.is_ok());
    let url = url_of(rig.call_of(Some("bob"), "a").await);
    assert!(matches!(rig.call("a").await, Err(CallError::Refused(_))), "nobody is named");
    // A state is bound to its person.
    log_in(&rig, &login, &url).await.unwrap();
    rig.connectors.logout(&rig.caller, "x", Some("ann")).await.unwrap();
    assert!(rig.call_of(Some("bob"), "a").await.is_ok());
    url_of(rig.call_of(Some("ann"), "a").await);
}

#[tokio::test]
async fn a_token_that_ended_is_renewed_once_for_all_processes() {
    for on in On::all() {
        let (rig, login) = logged_in(on, false).await;
        let caller = &rig.caller;
        login.state.slow.store(300, Ordering::Relaxed);
        // The server takes another token from now on; the one that is held is refused.
        login.state.access.store(50, Ordering::SeqCst);
        let others = [rig.another(), rig.another(), Arc::clone(&rig.connectors)];
        let calls =
            others.iter().flat_map(|one| (0..4).map(move |_| call(one, caller, None, "a", Duration::from_secs(20))));
        for found in futures_util::future::join_all(calls).await {
            assert!(found.is_ok(), "{on:?} {found:?}");
        }
        assert_eq!(login.refreshes(), 1, "{on:?}: a second one would have used a token that was rotated");
        // Ended by its time, without a refusal.
        login.state.slow.store(0, Ordering::Relaxed);
        login.state.expires_in.store(1, Ordering::Relaxed);
        login.state.access.store(60, Ordering::SeqCst);
        assert!(rig.call("a").await.is_ok());
        assert_eq!(login.refreshes(), 2, "{on:?}");
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert!(rig.call("a").await.is_ok());
        assert_eq!(login.refreshes(), 3, "{on:?}");
    }
}

#[tokio::test]
async fn a_renewed_token_is_kept_though_nobody_waits_for_it() {
    let (rig, login) = logged_in(On::Sqlite, false).await;
    login.state.slow.store(600, Ordering::Relaxed);
    login.state.access.store(50, Ordering::SeqCst);
    let gone = call(&rig.connectors, &rig.caller, None, "a", Duration::from_secs(20));
    assert!(tokio::time::timeout(Duration::from_millis(300), gone).await.is_err());
    tokio::time::sleep(Duration::from_millis(900)).await;
    login.state.slow.store(0, Ordering::Relaxed);
    assert!(rig.call("a").await.is_ok());
    assert_eq!(login.refreshes(), 1);
}

#[tokio::test]
async fn a_refresh_token_that_is_of_no_use_asks_for_a_login() {
    let (rig, login) = logged_in(On::Sqlite, false).await;
    login.state.refresh.store(99, Ordering::SeqCst);
    login.state.access.store(50, Ordering::SeqCst);
    let url = url_of(rig.call("a").await);
    log_in(&rig, &login, &url).await.unwrap();
    assert!(rig.call("a").await.is_ok());
    // More rights are wanted: no refresh gives them.
    *login.state.challenge.lock() = "Bearer error=\"insufficient_scope\", scope=\"admin\"".to_owned();
    login.state.access.store(70, Ordering::SeqCst);
    let (_, url) = open(&rig, &url_of(rig.call("a").await)).await;
    assert!(pair(&url, "scope").unwrap().contains("admin"), "{url}");
}

#[tokio::test]
async fn a_login_is_used_once_and_by_its_own_answer_only() {
    let (rig, login) = (Rig::new().await, Login::new().await);
    rig.put(oauth(&login.mcp.url(), false)).await;
    let begin = async || open(&rig, &rig.connectors.login(&rig.caller, "x", None).await.unwrap().url).await;
    let finish = async |browser: &Browser, answer| rig.connectors.finish_login(&answer, Some(browser)).await;
    // Replayed.
    let (browser, url) = begin().await;
    finish(&browser, login.answer(&url)).await.unwrap();
    assert!(matches!(finish(&browser, login.answer(&url)).await, Err(LoginError::Unknown)));
    // Made up, or none.
    for state in [None, Some("x".to_owned()), Some(String::new()), Some("x".repeat(10_000)), Some("x.y".to_owned())] {
        let made_up = finish(&browser, LoginAnswer { state, ..login.answer(&url) }).await;
        assert!(matches!(made_up, Err(LoginError::Unknown | LoginError::OtherBrowser)), "{made_up:?}");
    }
    // Another server's answer: the code must not be sent to this one.
    let before = login.server.asked().len();
    for iss in [Some("https://evil.example".to_owned()), None, Some(String::new())] {
        let (browser, url) = begin().await;
        let codes = login.server.asked().iter().filter(|asked| asked.path == "/token").count();
        assert!(matches!(finish(&browser, LoginAnswer { iss, ..login.answer(&url) }).await, Err(LoginError::Mixed)));
        assert_eq!(login.server.asked().iter().filter(|asked| asked.path == "/token").count(), codes);
        // And the state is used up.
        assert!(matches!(finish(&browser, login.answer(&url)).await, Err(LoginError::Unknown)));
    }
    assert!(login.server.asked().len() >= before);
    // Refused by the person, with words that are not repeated.
    let (browser, url) = begin().await;
    let error = Some("access_denied<script>\u{1b}".to_owned());
    let refused =
        finish(&browser, LoginAnswer { error, code: None, ..login.answer(&url) }).await.unwrap_err().to_string();
    assert_eq!(refused, "The login was refused (access_deniedscript).");
    // A code that is not the one for this verifier.
    let (browser, url) = begin().await;
    let code = Some("code-of-somebody-else".to_owned());
    let refused = finish(&browser, LoginAnswer { code, ..login.answer(&url) }).await.unwrap_err().to_string();
    assert!(refused.contains("invalid_grant") && !refused.contains("canary"), "{refused}");
    // The connector is another one meanwhile.
    let (browser, url) = begin().await;
    rig.put(ConnectorSpec { prefix: Some("p_".to_owned()), ..oauth(&login.mcp.url(), false) }).await;
    assert!(matches!(finish(&browser, login.answer(&url)).await, Err(LoginError::Changed)));
    let (browser, url) = begin().await;
    rig.connectors.delete(&rig.caller, "x").await.unwrap();
    assert!(matches!(finish(&browser, login.answer(&url)).await, Err(LoginError::Unknown)));
}

#[tokio::test]
async fn a_login_that_is_too_old_is_dead() {
    let (rig, login) = (Rig::new().await, Login::new().await);
    rig.put(oauth(&login.mcp.url(), false)).await;
    let url = rig.connectors.login(&rig.caller, "x", None).await.unwrap().url;
    let hash = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(pair(&url, "login").unwrap().as_bytes()));
    let (browser, address) = open(&rig, &url).await;
    let late = cofferdam_core::now_ms() + 601_000;
    assert!(rig.store.take_connector_login(&hash, late).await.unwrap().is_none());
    let finish = rig.connectors.finish_login(&login.answer(&address), Some(&browser)).await;
    assert!(matches!(finish, Err(LoginError::Unknown)));
}

#[tokio::test]
async fn metadata_that_mean_harm_begin_no_login() {
    let resource = "/.well-known/oauth-protected-resource/mcp";
    let server = "/.well-known/oauth-authorization-server";
    let (rig, good) = (Rig::new().await, Login::new().await);
    rig.put(oauth(&good.mcp.url(), false)).await;
    let (issuer, mcp) = (good.issuer(), good.mcp.url());
    let with = |key: &str, value: Value| {
        let mut document = metadata(&issuer);
        document[key] = value;
        document
    };
    let of = |resource: &str, server: &str| json!({ "resource": resource, "authorization_servers": [server] });
    for (what, path, document, part) in [
        ("a token for somebody else", resource, of("https://bank.example/mcp", &issuer), "another resource"),
        ("another path", resource, of(&format!("{mcp}/other"), &issuer), "another resource"),
        ("the metadata service", resource, of(&mcp, "http://169.254.169.254"), "may have"),
        ("no server", resource, json!({ "resource": mcp }), "no authorization server"),
        ("nonsense", resource, json!([1]), "cannot be read"),
        ("another issuer", server, with("issuer", json!("https://evil.example")), "another issuer"),
        ("no PKCE", server, with("code_challenge_methods_supported", json!([])), "PKCE"),
        ("plain PKCE", server, with("code_challenge_methods_supported", json!(["plain"])), "PKCE"),
        ("a script", server, with("authorization_endpoint", json!("javascript:alert(1)")), "authorization endpoint"),
        ("a file", server, with("token_endpoint", json!("file:///etc/passwd")), "token endpoint"),
        ("mixed", server, with("authorization_endpoint", json!("https://a.example/")), "TLS"),
    ] {
        good.state.documents.lock().insert(0, (path.to_owned(), document));
        let error = rig.connectors.login(&rig.caller, "x", None).await.unwrap_err().to_string();
        assert!(error.contains(part), "{what}: {error}");
        assert!(matches!(rig.call("a").await, Err(CallError::Refused(_))), "{what}");
        good.state.documents.lock().remove(0);
    }
    // Token endpoints inside are not dialled.
    good.state
        .documents
        .lock()
        .insert(0, (server.to_owned(), with("token_endpoint", json!("http://169.254.169.254/token"))));
    let url = rig.connectors.login(&rig.caller, "x", None).await.unwrap().url;
    let error = log_in(&rig, &good, &url).await.unwrap_err().to_string();
    assert!(error.contains("may have"), "{error}");
}

#[tokio::test]
async fn a_given_client_authenticates_with_its_secret() {
    let (rig, login) = (Rig::new().await, Login::new().await);
    let auth = ConnectorAuth::Oauth2 {
        client_id: Some("given:1".to_owned()),
        client_secret: Some(Sealed::new("canary secret")),
        issuer: Some(login.issuer()),
        scopes: vec!["write".to_owned()],
        per_person: false,
    };
    rig.put(ConnectorSpec { auth, ..spec(&login.mcp.url()) }).await;
    let address = url_of(rig.call("a").await);
    let (_, url) = open(&rig, &address).await;
    assert_eq!(pair(&url, "client_id").as_deref(), Some("given:1"));
    assert!(!url.contains("canary"));
    log_in(&rig, &login, &address).await.unwrap();
    let asked = login.server.asked();
    let exchange = asked.iter().find(|asked| asked.path == "/token").unwrap();
    let expected = base64::prelude::BASE64_STANDARD.encode("given%3A1:canary+secret");
    assert_eq!(exchange.header("authorization"), format!("Basic {expected}"));
    assert!(exchange.form("client_secret").is_none());
    assert!(!asked.iter().any(|asked| asked.path == "/register"));
}

#[tokio::test]
async fn a_login_ends_in_the_browser_that_was_shown_it() {
    let (rig, login) = (Rig::new().await, Login::new().await);
    rig.put(oauth(&login.mcp.url(), true)).await;
    let address = rig.connectors.login(&rig.caller, "x", Some("ann")).await.unwrap().url;
    let ticket = pair(&address, "login").unwrap();
    let (own, victim) = (Browser::new().unwrap(), Browser::new().unwrap());
    let shown = rig.connectors.show_login(&ticket, &own).await.unwrap();
    assert_eq!((shown.organization.as_str(), shown.connector.as_str()), ("default", "x"));
    assert_eq!((shown.person.as_deref(), &shown.issuer, &shown.place), (Some("ann"), &login.issuer(), &login.issuer()));
    // A page of another site sends the victim's browser on, past what it should have been shown.
    for proof in ["", &*shown.proof, "x"] {
        let past = rig.connectors.go_on(&ticket, &victim, proof).await;
        assert!(matches!(past, Err(LoginError::OtherBrowser)), "{past:?}");
    }
    // The attacker goes on himself, and gives the victim the address at the authorization server.
    let url = rig.connectors.go_on(&ticket, &own, &shown.proof).await.unwrap();
    let exchanges = || login.server.asked().iter().filter(|asked| asked.path == "/token").count();
    for browser in [None, Some(&victim)] {
        let given = rig.connectors.finish_login(&login.answer(&url), browser).await;
        assert!(matches!(given, Err(LoginError::OtherBrowser)), "{given:?}");
    }
    assert_eq!(exchanges(), 0, "the victim's code went nowhere");
    url_of(rig.call_of(Some("ann"), "a").await);
    rig.connectors.finish_login(&login.answer(&url), Some(&own)).await.unwrap();
    assert!(rig.call_of(Some("ann"), "a").await.is_ok());
}

#[tokio::test]
async fn a_logout_and_another_account_count_in_all_processes() {
    let (rig, login) = logged_in(On::Sqlite, true).await;
    let other = rig.another();
    let call = async || call(&other, &rig.caller, Some("ann"), "a", Duration::from_secs(20)).await;
    assert!(call().await.is_ok());
    rig.connectors.logout(&rig.caller, "x", Some("ann")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let url = url_of(call().await);
    login.state.access.store(7, Ordering::SeqCst);
    log_in(&rig, &login, &url).await.unwrap();
    assert!(call().await.is_ok(), "the new account's token");
}

#[tokio::test]
async fn a_clients_secret_goes_to_the_named_authorization_server_only() {
    let (rig, login, evil) = (Rig::new().await, Login::new().await, Login::new().await);
    let with = |issuer: Option<String>| ConnectorSpec {
        auth: ConnectorAuth::Oauth2 {
            client_id: Some("given".to_owned()),
            client_secret: Some(Sealed::new("canary-secret")),
            issuer,
            scopes: Vec::new(),
            per_person: false,
        },
        ..spec(&login.mcp.url())
    };
    let refused = rig.connectors.put(&rig.caller, "x", with(None)).await.unwrap_err().to_string();
    assert!(refused.contains("needs `issuer`"), "{refused}");
    rig.put(with(Some(format!("{}/", login.issuer())))).await;
    assert!(rig.connectors.login(&rig.caller, "x", None).await.is_ok(), "a slash more or less");
    // The MCP server names another one from now on: its token endpoint would get the secret.
    let resource = "/.well-known/oauth-protected-resource/mcp".to_owned();
    let document = json!({ "resource": login.mcp.url(), "authorization_servers": [evil.issuer()] });
    login.state.documents.lock().insert(0, (resource, document));
    let error = rig.connectors.login(&rig.caller, "x", None).await.unwrap_err().to_string();
    assert!(error.contains("auth.issuer"), "{error}");
    assert!(evil.server.asked().is_empty());
    // A stored secret is not kept for another server.
    let mut moved = with(Some(evil.issuer()));
    if let ConnectorAuth::Oauth2 { client_secret, .. } = &mut moved.auth {
        *client_secret = Some(serde_json::from_value(json!("[sealed]")).unwrap());
    }
    let refused = rig.connectors.put(&rig.caller, "x", moved).await.unwrap_err().to_string();
    assert!(refused.contains("give the value itself"), "{refused}");
}
