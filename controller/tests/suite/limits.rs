//! Limits under races: 64 requests at once for five places, over the API. Never more than five, and after failures and
//! requests that broke off five work again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use axum::body::Body;
use cofferdam_testkit::tools::{self, FakeTools};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{ADMIN, TestApp};

const REQUESTS: usize = 64;

/// Sends all requests at the same time. Returns the bodies of those that were granted; all others are 429 and say why.
async fn race(
    app: &TestApp,
    key: &str,
    granted: u16,
    request: impl Fn(usize) -> (String, String, Value),
) -> Vec<Value> {
    let send = |number: usize| {
        let (method, path, body) = request(number);
        async move { app.call(key, &method, &path, Some(body)).await }
    };
    let mut bodies = Vec::new();
    for answer in join_all((0..REQUESTS).map(send)).await {
        if answer.status == granted {
            bodies.push(answer.json());
        } else {
            let problem = answer.problem(429, "overloaded");
            assert!(answer.headers.contains_key("retry-after"), "{problem}");
        }
    }
    bodies
}

fn new_session(_: usize) -> (String, String, Value) {
    ("POST".into(), "/v1/sessions".into(), json!({"language": "python"}))
}

async fn sessions(app: &TestApp, key: &str) -> Vec<String> {
    let listed = app.call(key, "GET", "/v1/sessions?limit=1000", None).await.json();
    listed["sessions"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_key_and_of_all() {
    let env = [("COFFERDAM_MAX_SESSIONS_PER_KEY", "5"), ("COFFERDAM_MAX_SESSIONS", "8")];
    let app = TestApp::with(1, &env).await;
    let (mine, theirs) = (app.key(&["run"]).await, app.key(&["run"]).await);
    for _ in 0..3 {
        assert_eq!(race(&app, &mine, 201, new_session).await.len(), 5);
        assert_eq!(app.workers[0].seen.sessions.lock().unwrap().len(), 5);
        for id in sessions(&app, &mine).await {
            assert_eq!(app.call(&mine, "DELETE", &format!("/v1/sessions/{id}"), None).await.status, 204);
        }
    }
    let first = app.session(&mine).await;
    let fork = |_| ("POST".into(), format!("/v1/sessions/{first}/fork"), json!({"count": 2}));
    assert_eq!(race(&app, &mine, 201, fork).await.len(), 2);
    assert_eq!(race(&app, &theirs, 201, new_session).await.len(), 3, "eight in all");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_could_not_be_made_holds_no_place() {
    let app = TestApp::with(1, &[("COFFERDAM_MAX_SESSIONS_PER_KEY", "5")]).await;
    let key = app.key(&["run"]).await;
    app.workers[0].seen.refuse_sessions.store(true, std::sync::atomic::Ordering::SeqCst);
    for _ in 0..3 {
        let (_, path, body) = new_session(0);
        let send = || app.call(&key, "POST", &path, Some(body.clone()));
        for answer in join_all((0..REQUESTS).map(|_| send())).await {
            assert!(answer.status == 429 || answer.status == 503, "{}", answer.status);
        }
    }
    app.workers[0].seen.refuse_sessions.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(race(&app, &key, 201, new_session).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_broke_off_holds_no_place() {
    let app = TestApp::with(1, &[("COFFERDAM_MAX_SESSIONS_PER_KEY", "5")]).await;
    let key = app.key(&["run"]).await;
    let seen = &app.workers[0].seen;
    for wait_ms in [0, 1, 5, 20, 60] {
        seen.session_delay_ms.store(30, std::sync::atomic::Ordering::SeqCst);
        let (_, path, body) = new_session(0);
        // The client of a request that is dropped closes its connection.
        let send =
            || tokio::time::timeout(Duration::from_millis(wait_ms), app.call(&key, "POST", &path, Some(body.clone())));
        join_all((0..REQUESTS).map(|_| send())).await;
        seen.session_delay_ms.store(0, std::sync::atomic::Ordering::SeqCst);
        for id in sessions(&app, &key).await {
            app.call(&key, "DELETE", &format!("/v1/sessions/{id}"), None).await;
        }
        // Sessions that nobody waits for any more end by themselves.
        let mut free = 0;
        for _ in 0..100 {
            free = race(&app, &key, 201, new_session).await.len();
            for id in sessions(&app, &key).await {
                app.call(&key, "DELETE", &format!("/v1/sessions/{id}"), None).await;
            }
            if free == 5 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(free, 5, "after {wait_ms} ms");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_an_organization() {
    let app = TestApp::with(1, &[("COFFERDAM_MAX_KEYS_PER_ORGANIZATION", "6")]).await;
    let new_key = |n: usize| ("POST".into(), "/v1/keys".into(), json!({"name": format!("k{n}"), "scopes": ["run"]}));
    // The operator's own key is one of them.
    let made = race(&app, ADMIN, 201, new_key).await;
    assert_eq!(made.len(), 5);
    for key in made.iter().take(3) {
        let path = format!("/v1/keys/{}", key["id"].as_str().unwrap());
        assert_eq!(app.call(ADMIN, "DELETE", &path, None).await.status, 204);
    }
    assert_eq!(race(&app, ADMIN, 201, new_key).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn environments_variables_and_agents() {
    let app = TestApp::with(1, &[("COFFERDAM_MAX_AGENTS", "5")]).await;
    let agent = |n: usize| ("POST".into(), "/v1/agents".into(), json!({"id": format!("agent-{n}")}));
    assert_eq!(race(&app, ADMIN, 201, agent).await.len(), 5);
    // Two put the same new environment at once: it opens, whoever was first.
    for round in 0..20 {
        let path = format!("/v1/environments/e{round}");
        let put = || app.call(ADMIN, "PUT", &path, Some(json!({"env": {"A": "1"}})));
        let answers = join_all((0..4).map(|_| put())).await;
        assert!(answers.iter().all(|answer| answer.status.is_success()));
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
        assert_eq!(app.call(ADMIN, "GET", &path, None).await.json()["env"], json!(["A"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_have_one_owner_of_a_name() {
    let app = TestApp::new().await;
    let key = app.key(&["run"]).await;
    let path = format!("/v1/sessions/{}/snapshots", app.session(&key).await);
    let made = join_all((0..REQUESTS).map(|_| app.call(&key, "POST", &path, Some(json!({"name": "base"}))))).await;
    assert_eq!(made.iter().filter(|answer| answer.status == 201).count(), 1);
    let listed = app.call(&key, "GET", "/v1/snapshots", None).await.json();
    assert_eq!(listed["snapshots"].as_array().unwrap().len(), 1);
}

/// Components that were refused leave no bytes behind, whatever refused them.
#[tokio::test(flavor = "multi_thread")]
async fn refused_components_are_not_kept() {
    let fake = FakeTools::start().await;
    let app = TestApp::with_tools(&fake, &[]).await;
    let key = app.key(&["deploy"]).await;
    let blobs = app.folder.path().join("blobs");
    let kept = || std::fs::read_dir(&blobs).map_or(0, Iterator::count);
    let put = |name: &str, bytes: Vec<u8>| {
        let builder = app.request(&key, "PUT", &format!("/v1/tools/{name}")).header("content-type", "application/wasm");
        app.send(builder.body(Body::from(bytes)).unwrap())
    };
    let junk = |n: usize| put("junk", format!("{n} {}", "x".repeat(100_000)).into_bytes());
    for answer in join_all((0..32).map(junk)).await {
        answer.problem(422, "bad-component");
    }
    let traps = json!({"functions": ["f"], "n": 1, "traps": true}).to_string().into_bytes();
    put("traps", traps).await.problem(422, "bad-component");
    let imports = json!({"functions": ["f"], "n": 1, "imports": ["wasi:http/outgoing-handler@0.2.6"]});
    put("imports", imports.to_string().into_bytes()).await.problem(422, "bad-component");
    assert_eq!(kept(), 0);
    // Of many tools at once that would publish the same name, one serves; the others leave nothing.
    let same = |n: u32| put(if n.is_multiple_of(2) { "a-b" } else { "a" }, tools::component(&["b-c", "c"], n));
    let answers = join_all((0..8).map(same)).await;
    let served = answers.iter().filter(|answer| answer.status.is_success()).count();
    assert!(served >= 1);
    assert!(kept() <= served, "{} files for {served} deployments", kept());
    for answer in answers.iter().filter(|answer| !answer.status.is_success()) {
        answer.problem(409, "conflict");
    }
    for tool in app.call(&key, "GET", "/v1/tools", None).await.json()["tools"].as_array().unwrap() {
        let name = tool["name"].as_str().unwrap();
        let shown = app.call(&key, "GET", &format!("/v1/tools/{name}"), None).await.json();
        for version in shown["versions"].as_array().unwrap() {
            let digest = version["version"].as_str().unwrap().replace(':', "-");
            assert!(blobs.join(&digest).is_file(), "{digest}");
        }
    }
}
