//! Every route of the document: nothing without a key, nothing with a key that lacks the scope.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use crate::support::{ADMIN, TestApp};
use serde_json::json;

/// Routes that need no key.
const OPEN: [&str; 4] = ["/health", "/ready", "/metrics", "/openapi.json"];
/// A route that a link authorizes instead of a key.
const LINKED: &str = "/uploads/{token}";
/// Routes that a key with scope `read` may call.
const READ: [&str; 31] = [
    "get /agents/{id}/logs",
    "get /{org}/agent-containers/{id}/logs",
    // What changes something there asks for more itself.
    "post /api/deploy-agent",
    "get /v1/agents",
    "get /v1/agents/{id}",
    "get /v1/agents/{id}/deployments",
    "get /v1/agents/{id}/deployments/{number}",
    "get /v1/agents/{id}/deployments/{number}/events",
    "get /v1/budgets",
    "get /v1/budgets/{name}",
    "get /v1/model-aliases",
    "get /v1/model-aliases/{name}",
    "get /v1/model-costs",
    "get /v1/model-prices",
    "get /v1/model-prices/{name}",
    "get /v1/model-privacy",
    "get /v1/model-rules",
    "get /v1/model-rules/{name}",
    "get /v1/upstreams",
    "get /v1/upstreams/{name}",
    "get /v1/usage",
    "get /v1/usage/calls",
    "get /v1/usage/calls/{id}",
    "get /v1/runs/{id}/files/{path}",
    "get /v1/sessions",
    "get /v1/sessions/{id}",
    "get /v1/sessions/{id}/files",
    "get /v1/sessions/{id}/files/{path}",
    "get /v1/snapshots",
    "get /v1/tools",
    "get /v1/tools/{name}",
];
/// Routes that a key with scope `deploy` may call.
const DEPLOY: [&str; 14] = [
    "put /v1/tools/{name}",
    "delete /v1/tools/{name}",
    "post /v1/tools/{name}/rollback",
    "post /v1/tools/{name}/push",
    "post /v1/run-tokens",
    "get /v1/run-tokens",
    "delete /v1/run-tokens",
    "delete /v1/run-tokens/{id}",
    "post /v1/agents",
    "delete /v1/agents/{id}",
    "get /agent-containers/{id}/generate_upload_link",
    "post /agent-containers/{id}/deploy",
    "post /agent-containers/{id}/start",
    "delete /agent-containers/{id}/stop",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_route_wants_its_scope() {
    let app = TestApp::new().await;
    let (read, deploy) = (app.key(&["read"]).await, app.key(&["deploy"]).await);
    let mut walked = 0;
    for (route, item) in app.document["paths"].as_object().unwrap() {
        let path = route.replace("{id}", "some-id").replace("{path}", "a.txt").replace("{name}", "some-name");
        let path = path.replace("{function}", "some-function").replace("{number}", "1").replace("{org}", "default");
        for method in item.as_object().unwrap().keys() {
            walked += 1;
            let upper = method.to_uppercase();
            let answer = app.call("", &upper, &path, None).await;
            if route == LINKED {
                assert!(matches!(answer.status.as_u16(), 400 | 404), "{method} {route}: {}", answer.status);
                continue;
            }
            if OPEN.contains(&route.as_str()) {
                assert!(answer.status.is_success(), "{method} {route}: {}", answer.status);
                continue;
            }
            answer.problem(401, "unauthorized");
            assert!(answer.headers.contains_key("www-authenticate"));
            app.call("no-such-key", &upper, &path, None).await.problem(401, "unauthorized");
            let named = format!("{method} {route}");
            let lacking = app.call(&deploy, &upper, &path, None).await;
            let with_read = app.call(&read, &upper, &path, None).await;
            if DEPLOY.contains(&named.as_str()) {
                assert_ne!(lacking.status, 403, "{named}");
                with_read.problem(403, "forbidden");
            } else if READ.contains(&named.as_str()) {
                assert_ne!(with_read.status, 403, "{named}");
            } else {
                lacking.problem(403, "forbidden");
                with_read.problem(403, "forbidden");
            }
        }
    }
    assert_eq!(walked, 90, "routes were added or lost: say which scope they need");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_listed_and_revoked() {
    let app = TestApp::new().await;
    let made = app.call(ADMIN, "POST", "/v1/keys", Some(json!({"name": "ci", "scopes": ["run"]}))).await.json();
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert!(key.starts_with("cof_") && key.len() >= 47);
    let bearer = app.request("", "GET", "/v1/sessions").header("authorization", format!("Bearer {key}"));
    assert_eq!(app.send(bearer.body(axum::body::Body::empty()).unwrap()).await.status, 200);
    let list = app.call(ADMIN, "GET", "/v1/keys", None).await;
    assert!(!String::from_utf8_lossy(&list.body).contains(key), "the text is shown once");
    assert_eq!(list.json()["keys"].as_array().unwrap().len(), 2);
    assert_eq!(app.call(ADMIN, "DELETE", &format!("/v1/keys/{id}"), None).await.status, 204);
    app.call(key, "GET", "/v1/sessions", None).await.problem(401, "unauthorized");
    app.call(ADMIN, "DELETE", &format!("/v1/keys/{id}"), None).await.problem(404, "not-found");
    app.call(ADMIN, "DELETE", "/v1/keys/key_serve", None).await.problem(409, "conflict");
    for body in [
        json!({"name": "", "scopes": ["run"]}),
        json!({"name": "x", "scopes": []}),
        json!({"name": "x", "scopes": ["root"]}),
    ] {
        app.call(ADMIN, "POST", "/v1/keys", Some(body)).await.problem(422, "invalid-request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_open_routes_tell_what_they_should() {
    let app = TestApp::new().await;
    assert_eq!(app.call("", "GET", "/health", None).await.json(), json!({"status": "ok"}));
    assert_eq!(app.call("", "GET", "/ready", None).await.json()["ready"], true);
    let metrics = app.call("", "GET", "/metrics", None).await;
    let text = String::from_utf8(metrics.body).unwrap();
    assert!(text.contains("cofferdam_fake 1") && text.contains("cofferdam_api_workers_ready 1"), "{text}");
    app.app.status.workers.all()[0].set_health(None);
    assert_eq!(app.call("", "GET", "/ready", None).await.status, 503);
    let answer = app.run(ADMIN, "1").await;
    answer.problem(503, "unavailable");
    assert_eq!(answer.headers["retry-after"], "1");
}
