//! Upstreams, aliases, rules, prices, budgets, privacy and usage over HTTP: what is stored, shown, refused and hidden.

use serde_json::{Value, json};

use crate::support::{ADMIN, TestApp};

const KEY: &str = "sk-of-a-provider-0123456789";
const FILE: &str = r#"
    [[models.upstreams]]
    name = "local"
    kind = "compatible"
    base_url = "http://127.0.0.1:9/v1"
    models = ["qwen"]
"#;

async fn put(app: &TestApp, path: &str, body: Value) -> (u16, Value) {
    let answer = app.call(ADMIN, "PUT", path, Some(body)).await;
    (answer.status.as_u16(), answer.json())
}

async fn get(app: &TestApp, path: &str) -> Value {
    let answer = app.call(ADMIN, "GET", path, None).await;
    assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstreams_key_goes_in_and_never_comes_out() {
    let app = TestApp::with_file(FILE, &[]).await;
    let spec = json!({"kind": "openai", "region": "eu", "keys": [KEY]});
    let (status, made) = put(&app, "/v1/upstreams/eu", spec.clone()).await;
    assert_eq!((status, &made["key_count"], &made["owner"]), (201, &json!(1), &json!("organization")));
    assert_eq!(put(&app, "/v1/upstreams/eu", json!({"kind": "openai", "region": "eu"})).await.0, 200);
    let shown = get(&app, "/v1/upstreams/eu").await;
    assert_eq!((&shown["key_count"], &shown["keys"]), (&json!(1), &Value::Null));
    // What is shown can be put back.
    assert_eq!(put(&app, "/v1/upstreams/eu", shown).await.0, 200);
    let all = get(&app, "/v1/upstreams").await;
    assert_eq!(all["upstreams"].as_array().unwrap().len(), 2);
    assert!(!all.to_string().contains(KEY) && !all.to_string().contains("127.0.0.1"), "{all}");
    for (body, status, kind) in [
        (json!({"kind": "openai", "region": "us"}), 422, "invalid-request"),
        (json!({"kind": "openai", "keys": KEY}), 400, "malformed-request"),
        (json!({"kind": "openai", "keys": [{"secret": KEY}]}), 422, "invalid-request"),
        (json!({"kind": "openai", "keys": [KEY], "base_url": "http://127.0.0.1:9"}), 422, "invalid-request"),
        (json!({"kind": "openai", "keys": [KEY], "ca": "x".repeat(70_000)}), 422, "invalid-request"),
        (json!([KEY]), 400, "malformed-request"),
    ] {
        let answer = app.call(ADMIN, "PUT", "/v1/upstreams/eu", Some(body.clone())).await;
        let problem = answer.problem(status, kind);
        let named = body["keys"][0]["secret"].is_string();
        assert!(named || !problem.to_string().contains(KEY), "{problem}");
        let answer = app.call(ADMIN, "POST", "/v1/upstreams/test", Some(body)).await;
        assert!(answer.status.is_client_error() || answer.json()["ok"] == false);
    }
    assert_eq!(app.call(ADMIN, "DELETE", "/v1/upstreams/eu", None).await.status, 204);
    app.call(ADMIN, "GET", "/v1/upstreams/eu", None).await.problem(404, "not-found");
    app.call(ADMIN, "DELETE", "/v1/upstreams/local", None).await.problem(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_secret_is_a_key_only_for_its_hosts() {
    let app = TestApp::new().await;
    let secret = json!({"value": KEY, "hosts": ["api.openai.com"]});
    assert_eq!(put(&app, "/v1/secrets/openai", secret.clone()).await.0, 201);
    let named = |kind: &str| json!({"kind": kind, "keys": [{"secret": "openai"}]});
    let answer = app.call(ADMIN, "PUT", "/v1/upstreams/a", Some(named("anthropic"))).await;
    let problem = answer.problem(422, "invalid-request");
    assert!(problem["detail"].as_str().unwrap().contains("api.anthropic.com"), "{problem}");
    let (status, made) = put(&app, "/v1/upstreams/a", named("openai")).await;
    assert_eq!((status, &made["secrets"]), (201, &json!(["openai"])));
    let usable = async || get(&app, "/v1/model-costs?models=a/gpt-5").await["costs"][0]["served_by"] == "a/gpt-5";
    assert!(usable().await);
    let used = app.call(ADMIN, "DELETE", "/v1/secrets/openai", None).await;
    assert!(used.problem(409, "conflict")["detail"].as_str().unwrap().contains("\"a\""), "an upstream names it");
    let elsewhere = json!({"value": KEY, "hosts": ["elsewhere.example"]});
    assert_eq!(put(&app, "/v1/secrets/openai", elsewhere).await.0, 200);
    assert!(!usable().await, "a key that may not be sent there any more is not used from memory");
    assert_eq!(put(&app, "/v1/secrets/openai", secret).await.0, 200);
    assert!(usable().await, "it is used again when it may be sent there again");
    assert_eq!(app.call(ADMIN, "DELETE", "/v1/upstreams/a", None).await.status, 204);
    assert_eq!(app.call(ADMIN, "DELETE", "/v1/secrets/openai", None).await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_put_shown_listed_and_deleted() {
    let app = TestApp::with_file(FILE, &[]).await;
    for (all, field, name, body) in [
        ("/v1/model-aliases", "aliases", "fast", json!({"chain": ["local/qwen"]})),
        ("/v1/model-rules", "rules", "r", json!({"for": {"agent": "a"}, "models": ["fast"], "max_tokens": 100})),
        ("/v1/model-prices", "prices", "local/qw*", json!({"input": "0.1", "output": "0.2"})),
        ("/v1/budgets", "budgets", "b", json!({"per": "key", "unit": "money", "limit": "12.50", "window": "day"})),
    ] {
        let one = format!("{all}/{name}");
        let (status, made) = put(&app, &one, body.clone()).await;
        assert_eq!(status, 201, "{made}");
        assert_eq!(put(&app, &one, body.clone()).await.0, 200);
        let shown = get(&app, &one).await;
        for (field, value) in body.as_object().unwrap() {
            assert_eq!(&shown[field], value, "{shown}");
        }
        let listed = get(&app, all).await;
        let found = listed[field].as_array().unwrap().iter().filter(|document| document["name"] == name).count();
        assert_eq!(found, 1, "{listed}");
        app.call(ADMIN, "PUT", &one, Some(json!({"surprise": 1}))).await.problem(400, "malformed-request");
        assert_eq!(app.call(ADMIN, "DELETE", &one, None).await.status, 204);
        app.call(ADMIN, "GET", &one, None).await.problem(404, "not-found");
        app.call(ADMIN, "DELETE", &one, None).await.problem(404, "not-found");
    }
    assert_eq!(get(&app, "/v1/model-privacy").await, json!({"store_contents": false}));
    assert_eq!(put(&app, "/v1/model-privacy", json!({"store_contents": true})).await.0, 200);
    assert_eq!(get(&app, "/v1/model-privacy").await, json!({"store_contents": true}));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_an_alias_names_stays() {
    let app = TestApp::new().await;
    assert_eq!(put(&app, "/v1/upstreams/eu", json!({"kind": "openai", "keys": [KEY]})).await.0, 201);
    let alias = json!({"chain": [["eu/gpt-5", {"model": "eu/gpt-5-mini", "weight": 3}]]});
    assert_eq!(put(&app, "/v1/model-aliases/fast", alias.clone()).await.0, 201);
    assert_eq!(get(&app, "/v1/model-aliases/fast").await["chain"], alias["chain"]);
    let problem = app.call(ADMIN, "DELETE", "/v1/upstreams/eu", None).await.problem(409, "conflict");
    assert!(problem["detail"].as_str().unwrap().contains("fast"), "{problem}");
    let costs = get(&app, "/v1/model-costs?models=fast,nothing%2Fx").await;
    let price = json!({"input": "1.25", "cached_input": "0.125", "output": "10"});
    assert_eq!(costs["costs"][0], json!({"model": "fast", "served_by": "eu/gpt-5", "price": price}));
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_json_or_csv() {
    let app = TestApp::new().await;
    assert_eq!(get(&app, "/v1/usage?group_by=model,day").await, json!({"rows": [], "left_out": 0}));
    for (path, accept) in [("/v1/usage?group_by=key&format=csv", "*/*"), ("/v1/usage?group_by=key", "text/csv")] {
        let request = app.request(ADMIN, "GET", path).header("accept", accept);
        let answer = app.send(request.body(axum::body::Body::empty()).unwrap()).await;
        assert_eq!(answer.headers["content-type"], "text/csv; charset=utf-8");
        assert!(answer.body.starts_with(b"key,requests,"), "{}", String::from_utf8_lossy(&answer.body));
    }
    for (query, field) in [("group_by=colour", "group_by"), ("from=yesterday", "from"), ("to=2026-13-01", "to")] {
        let problem = app.call(ADMIN, "GET", &format!("/v1/usage?{query}"), None).await.problem(422, "invalid-request");
        assert!(problem["detail"].as_str().unwrap().starts_with(field), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_controller_sees_a_change_within_a_second() {
    let app = TestApp::with_file(FILE, &[]).await;
    let beside = app.another(&[]).await;
    let served = async || get(&beside, "/v1/model-costs?models=x").await["costs"][0]["served_by"].clone();
    assert_eq!(served().await, Value::Null);
    assert_eq!(put(&app, "/v1/upstreams/eu", json!({"kind": "openai", "keys": [KEY]})).await.0, 201);
    let began = std::time::Instant::now();
    while served().await != "eu/x" {
        assert!(began.elapsed().as_secs() < 3, "the other controller does not see it");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
