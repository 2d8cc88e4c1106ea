//! Requests that are too many: of a key, and of all keys of an organization, at every door and in its words.

use cofferdam_testkit::models::FakeModels;
use serde_json::{Value, json};

use crate::support::{ADMIN, Answer, TestApp};

async fn limited_key(app: &TestApp, per_minute: u32) -> String {
    let spec = json!({"name": "limited", "scopes": ["run"], "requests_per_minute": per_minute});
    let made = app.call(ADMIN, "POST", "/v1/keys", Some(spec)).await;
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    made.json()["key"].as_str().unwrap().to_owned()
}

fn asked(model: &str) -> Value {
    json!({"model": model, "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]})
}

/// The seconds after which a refused request may come again.
fn retry_after(answer: &Answer) -> u64 {
    answer.headers["retry-after"].to_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_asks_too_often_is_told_so_at_every_door() {
    let fake = FakeModels::start().await;
    let base = format!("{}/v1", fake.base());
    let app = TestApp::with(1, &[("OPENAI_BASE_URL", base.as_str()), ("OPENAI_API_KEY", "sk-0123456789abcdef")]).await;
    let key = limited_key(&app, 12).await;
    for _ in 0..2 {
        assert_eq!(app.call(&key, "GET", "/v1/sessions", None).await.status, 200);
    }
    let refused = app.call(&key, "GET", "/v1/sessions", None).await;
    let problem = refused.problem(429, "rate-limited");
    assert!((4..=5).contains(&retry_after(&refused)), "{:?}", refused.headers);
    let said = problem["detail"].as_str().unwrap();
    assert!(said.starts_with("This API key may send 12 requests a minute; send the next one in "), "{said}");
    assert_eq!((&problem["fault"], &problem["retryable"]), (&json!("limit"), &json!(true)));

    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}});
    app.call(&key, "POST", "/mcp", Some(initialize)).await.problem(429, "rate-limited");
    for (path, kind) in [("/v1/chat/completions", "rate_limit_exceeded"), ("/v1/messages", "rate_limit_error")] {
        let refused = app.call(&key, "POST", path, Some(asked("words.1"))).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["error"]["type"]), (429, &json!(kind)), "{path}");
        assert!(retry_after(&refused) >= 1, "{path}");
    }
    assert_eq!(app.call(&key, "GET", "/v1/models", None).await.status, 429);
    // Refusals of its own making count as well, and others' requests do not.
    let other = limited_key(&app, 6).await;
    app.call(&other, "GET", "/v1/keys", None).await.problem(403, "forbidden");
    app.call(&other, "GET", "/v1/keys", None).await.problem(429, "rate-limited");
    assert_eq!(app.run(ADMIN, "1").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_keys_and_run_tokens_count_for_their_organization() {
    let app = TestApp::with(1, &[("COFFERDAM_ORGANIZATION_REQUESTS_PER_MINUTE", "30")]).await;
    let key = app.key(&["run"]).await;
    let token = app.call(ADMIN, "POST", "/v1/run-tokens", Some(json!({"agent": "a", "task": "t"}))).await.json();
    for _ in 0..3 {
        assert_eq!(app.call(&key, "GET", "/v1/sessions", None).await.status, 200);
    }
    let problem = app.call(ADMIN, "GET", "/v1/sessions", None).await.problem(429, "rate-limited");
    let said = problem["detail"].as_str().unwrap();
    assert!(said.starts_with("The organization \"default\" may send 30 requests a minute"), "{said}");
    let token = token["token"].as_str().unwrap();
    assert_eq!(app.call(token, "POST", "/v1/chat/completions", Some(asked("x"))).await.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_is_told_how_many_runs_an_organization_may_have() {
    let app = TestApp::new().await;
    let told = async || {
        assert_eq!(app.run(ADMIN, "1").await.status, 200);
        app.workers[0].seen.max_runs.lock().unwrap().clone()
    };
    assert_eq!(told().await, None);
    for (limit, expected) in [(json!(3), Some("3".to_owned())), (json!(null), None)] {
        let change = json!({"max_concurrent_runs": limit});
        let changed = app.call(ADMIN, "PATCH", "/v1/organizations/default", Some(change)).await;
        assert_eq!(changed.status, 200, "{}", String::from_utf8_lossy(&changed.body));
        assert_eq!(told().await, expected);
    }
}
