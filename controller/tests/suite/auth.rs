//! Keys, organizations and the audit log over HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use crate::support::{ADMIN, TestApp};
use serde_json::json;
use tower::ServiceExt;

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
    let own = app.call(ADMIN, "GET", &format!("/v1/keys/{id}"), None).await.json();
    assert!(own["last_used_at"].is_i64() && own["created_by"] == "key_serve", "{own}");
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
    // From elsewhere it takes a key of the operator's own organization: metrics tell about all.
    let made = app.call(ADMIN, "POST", "/v1/organizations", Some(json!({"id": "rival"}))).await.json();
    let (rival, read, run) =
        (made["key"]["key"].as_str().unwrap(), app.key(&["read"]).await, app.key(&["invoke"]).await);
    for (key, status) in [("", 401), (rival, 403), (&run, 403), (&read, 200), (ADMIN, 200)] {
        let request = app.request(key, "GET", "/metrics").body(axum::body::Body::empty()).unwrap();
        // Without a connection there is no address.
        let answer = app.app.router().0.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status, "{key}");
    }
    app.app.status.workers.all()[0].set_health(None);
    assert_eq!(app.call("", "GET", "/ready", None).await.status, 503);
    let answer = app.run(ADMIN, "1").await;
    answer.problem(503, "unavailable");
    assert_eq!(answer.headers["retry-after"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_changed_and_rotated() {
    let app = TestApp::new().await;
    let made = app.call(ADMIN, "POST", "/v1/keys", Some(json!({"name": "ci", "scopes": ["run"], "ttl_s": 60}))).await;
    let (id, first) = (made.json()["id"].clone(), made.json()["key"].clone());
    let (id, first) = (id.as_str().unwrap(), first.as_str().unwrap());
    let path = format!("/v1/keys/{id}");
    let patched =
        app.call(ADMIN, "PATCH", &path, Some(json!({"ttl_s": null, "requests_per_minute": 900}))).await.json();
    assert_eq!((patched.get("expires_at"), &patched["requests_per_minute"]), (None, &json!(900)));
    let patched = app.call(ADMIN, "PATCH", &path, Some(json!({"name": "cd"}))).await.json();
    assert_eq!((&patched["name"], &patched["requests_per_minute"]), (&json!("cd"), &json!(900)), "absent fields stay");
    app.call(ADMIN, "PATCH", &path, Some(json!({"scope": ["run"]}))).await.problem(400, "malformed-request");
    let rotated = app.call(ADMIN, "POST", &format!("{path}/rotate"), None).await;
    assert_eq!((rotated.status.as_u16(), &rotated.json()["id"]), (200, &json!(id)));
    let second = rotated.json()["key"].as_str().unwrap().to_owned();
    for key in [first, &second] {
        assert_eq!(app.call(key, "GET", "/v1/sessions", None).await.status, 200);
    }
    let now = app.call(ADMIN, "POST", &format!("{path}/rotate"), Some(json!({"grace_s": 0}))).await.json();
    for key in [first, &second] {
        app.call(key, "GET", "/v1/sessions", None).await.problem(401, "unauthorized");
    }
    assert_eq!(app.call(now["key"].as_str().unwrap(), "GET", "/v1/sessions", None).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn organizations_are_made_bounded_and_deleted() {
    let app = TestApp::new().await;
    let body = json!({"id": "acme", "name": "Acme Ltd.", "requests_per_minute": 600});
    let made = app.call(ADMIN, "POST", "/v1/organizations", Some(body)).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    let key = made["key"]["key"].as_str().unwrap();
    assert_eq!((&made["organization"]["name"], &made["key"]["scopes"]), (&json!("Acme Ltd."), &json!(["admin"])));
    app.call(key, "POST", "/v1/organizations", Some(json!({"id": "more"}))).await.problem(403, "forbidden");
    let change = json!({"requests_per_minute": null, "max_concurrent_runs": 2});
    let changed = app.call(ADMIN, "PATCH", "/v1/organizations/acme", Some(change)).await.json();
    assert_eq!((changed.get("requests_per_minute"), &changed["max_concurrent_runs"]), (None, &json!(2)));
    let own = app.call(key, "GET", "/v1/organizations", None).await.json();
    assert_eq!(own["organizations"].as_array().unwrap().len(), 1);
    let second = app.call(ADMIN, "POST", "/v1/organizations/acme/keys", None).await;
    assert_eq!((second.status.as_u16(), second.json()["scopes"].clone()), (201, json!(["admin"])));
    app.session(key).await;
    app.call(ADMIN, "DELETE", "/v1/organizations/acme", None).await.problem(409, "conflict");
    assert_eq!(app.call(ADMIN, "DELETE", "/v1/organizations/acme?force=true", None).await.status, 204);
    let gone = app.call(key, "GET", "/v1/sessions", None).await.problem(401, "unauthorized");
    assert!(gone["detail"].as_str().unwrap().contains("revoked"), "{gone}");
    app.call(ADMIN, "GET", "/v1/organizations/acme", None).await.problem(404, "not-found");
    app.call(ADMIN, "DELETE", "/v1/organizations/default?force=true", None).await.problem(409, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_has_changes_and_no_secret() {
    let app = TestApp::new().await;
    let secret = json!({"value": "hunter22-the-value", "hosts": ["api.example.com"]});
    assert_eq!(app.call(ADMIN, "PUT", "/v1/secrets/token", Some(secret)).await.status, 201);
    let made = app.call(ADMIN, "POST", "/v1/keys", Some(json!({"name": "ci", "scopes": ["read"]}))).await.json();
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    // Refused, wrong and read: none of these changes anything.
    app.call(key, "POST", "/v1/keys", Some(json!({"name": "x", "scopes": ["admin"]}))).await.problem(403, "forbidden");
    app.call(ADMIN, "DELETE", "/v1/secrets/none", None).await.problem(404, "not-found");
    app.call(ADMIN, "GET", "/v1/secrets", None).await;
    assert_eq!(app.call(ADMIN, "DELETE", &format!("/v1/keys/{id}"), None).await.status, 204);
    app.call(key, "GET", "/v1/sessions", None).await.problem(401, "unauthorized");
    let log = app.call(ADMIN, "GET", "/v1/audit", None).await;
    let text = String::from_utf8_lossy(&log.body).into_owned();
    assert!(!text.contains("hunter22") && !text.contains(key), "{text}");
    let log = log.json();
    let entries: Vec<(&str, &str, &str)> = (log["entries"].as_array().unwrap().iter())
        .map(|entry| ["action", "target", "outcome"].map(|field| entry[field].as_str().unwrap_or_default()))
        .map(|[action, target, outcome]| (action, target, outcome))
        .collect();
    assert_eq!(
        entries,
        [("key.revoke", id, "done"), ("key.create", id, "done"), ("secret.put", "token", "done")],
        "{text}"
    );
    assert_eq!(log["entries"][1]["detail"]["scopes"], "read");
    assert_eq!(log["entries"][1]["key"], "key_serve");
    app.app.audit.note_refusals();
    app.call(ADMIN, "DELETE", "/v1/secrets/token", None).await;
    let refused = app.call(ADMIN, "GET", "/v1/audit?action=authentication&limit=10", None).await.json();
    let reasons: Vec<&str> = refused["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["detail"]["reason"].as_str().unwrap())
        .collect();
    assert!(reasons.contains(&"scope") && reasons.contains(&"revoked"), "{refused}");
    app.call(ADMIN, "GET", "/v1/audit?limit=0", None).await.problem(422, "invalid-request");
    let made = app.call(ADMIN, "POST", "/v1/organizations", Some(json!({"id": "rival"}))).await.json();
    let theirs = app.call(made["key"]["key"].as_str().unwrap(), "GET", "/v1/audit", None).await.json();
    assert_eq!(theirs, json!({"entries": []}));
}
