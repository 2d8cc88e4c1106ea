//! MCP over a fake tool worker: the call that a `notifications/cancelled` ends.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use serde_json::{Value, json};

use crate::support::{ADMIN, Answer, TestApp, eventually};
use cofferdam_testkit::tools::{FakeTools, component};

/// Sends a message as the client with that name.
async fn post(app: &TestApp, key: &str, client: Option<&str>, message: Value) -> Answer {
    let mut request = app.request(key, "POST", "/mcp").header("content-type", "application/json");
    request = request.header("accept", "application/json, text/event-stream");
    if let Some(client) = client {
        request = request.header("mcp-session-id", client);
    }
    app.send(request.body(Body::from(message.to_string())).unwrap()).await
}

async fn initialize(app: &TestApp, client: Option<&str>) -> Answer {
    let params =
        json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let answer =
        post(app, ADMIN, client, json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer
}

async fn client(app: &TestApp) -> String {
    let name = initialize(app, None).await.headers["mcp-session-id"].to_str().unwrap().to_owned();
    assert!(name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
    name
}

fn cancel(request: Value) -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request, "reason": "enough"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_ends_its_own_call_and_no_other() {
    let tools = FakeTools::start().await;
    let app = Arc::new(TestApp::with_tools(&tools, &[]).await);
    let put = app.request(ADMIN, "PUT", "/v1/tools/t").header("content-type", "application/wasm");
    let made = app.send(put.body(Body::from(component(&["slow"], 1))).unwrap()).await;
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    let (one, two) = (client(&app).await, client(&app).await);
    assert_ne!(one, two);
    assert!(initialize(&app, Some(&one)).await.headers.get("mcp-session-id").is_none(), "it has a name already");
    let other = app.key(&["run"]).await;

    let before = tools.seen.calls.lock().unwrap().len();
    let message = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "t", "arguments": {}}});
    let (calling, name) = (Arc::clone(&app), one.clone());
    let call = tokio::spawn(async move { post(&calling, ADMIN, Some(&name), message).await });
    eventually(|| tools.seen.calls.lock().unwrap().len() > before).await;

    for (key, client, request) in [
        (ADMIN, Some(two.as_str()), json!(7)),
        (ADMIN, None, json!(7)),
        (ADMIN, Some(one.as_str()), json!("7")),
        (ADMIN, Some(one.as_str()), json!(8)),
        (other.as_str(), Some(one.as_str()), json!(7)),
        (ADMIN, Some("x"), json!(7)),
    ] {
        let answer = post(&app, key, client, cancel(request)).await;
        assert_eq!(answer.status, 202, "{}", String::from_utf8_lossy(&answer.body));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!call.is_finished() && tools.seen.cancelled.load(Ordering::SeqCst) == 0);

    assert_eq!(post(&app, ADMIN, Some(&one), cancel(json!(7))).await.status, 202);
    let ended = tokio::time::timeout(Duration::from_secs(3), call).await.unwrap().unwrap();
    assert_eq!((&ended.json()["id"], &ended.json()["error"]["message"]), (&json!(7), &json!("cancelled")));
    eventually(|| tools.seen.cancelled.load(Ordering::SeqCst) == 1).await;
    // It is forgotten: the same once more does nothing.
    assert_eq!(post(&app, ADMIN, Some(&one), cancel(json!(7))).await.status, 202);
}
