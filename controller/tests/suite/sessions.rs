//! Sessions and snapshots over a fake worker: their owner, their worker, their end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use crate::support::{ADMIN, TestApp, eventually};
use axum::body::Body;
use serde_json::json;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_its_keys_own() {
    let app = TestApp::new().await;
    let (mine, theirs) = (app.key(&["run"]).await, app.key(&["run"]).await);
    let id = app.session(&mine).await;
    let at = |tail: &str| format!("/v1/sessions/{id}{tail}");
    assert_eq!(app.call(&mine, "GET", &at(""), None).await.json()["state"], "live");
    for key in [theirs.as_str(), ADMIN] {
        for (method, tail, body) in [
            ("GET", "", None),
            ("DELETE", "", None),
            ("POST", "/suspend", None),
            ("POST", "/resume", None),
            ("POST", "/fork", Some(json!({"count": 1}))),
            ("POST", "/snapshots", Some(json!({"name": "x"}))),
            ("GET", "/files", None),
            ("GET", "/files/a.txt", None),
            ("PUT", "/files/a.txt", None),
        ] {
            app.call(key, method, &at(tail), body).await.problem(404, "not-found");
        }
        let run = json!({"code": "1", "session": id});
        app.call(key, "POST", "/v1/runs", Some(run)).await.problem(404, "not-found");
        assert_eq!(app.call(key, "GET", "/v1/sessions", None).await.json()["sessions"], json!([]));
    }
    let run = app.call(&mine, "POST", "/v1/runs", Some(json!({"code": "1", "session": id}))).await;
    assert_eq!(run.json()["session"], id);
    let wrong = json!({"code": "1", "language": "javascript", "session": id});
    app.call(&mine, "POST", "/v1/runs", Some(wrong)).await.problem(422, "invalid-request");
    assert_eq!(app.call(&mine, "DELETE", &at(""), None).await.status, 204);
    app.call(&mine, "GET", &at(""), None).await.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_suspended_forked_listed_and_have_files() {
    let app = TestApp::new().await;
    let id = app.session(ADMIN).await;
    let suspended = app.call(ADMIN, "POST", &format!("/v1/sessions/{id}/suspend"), None).await.json();
    assert_eq!((&suspended["state"], suspended["warnings"].as_array().unwrap().len()), (&json!("suspended"), 1));
    let forked = app.call(ADMIN, "POST", &format!("/v1/sessions/{id}/fork"), Some(json!({"count": 3}))).await;
    assert_eq!((forked.status.as_u16(), forked.json()["sessions"].as_array().unwrap().len()), (201, 3));
    for count in [0, 1_001] {
        let path = format!("/v1/sessions/{id}/fork");
        app.call(ADMIN, "POST", &path, Some(json!({"count": count}))).await.problem(422, "invalid-request");
    }
    let page = app.call(ADMIN, "GET", "/v1/sessions?limit=3", None).await.json();
    assert_eq!(page["sessions"].as_array().unwrap().len(), 3);
    let next = format!("/v1/sessions?limit=3&after={}", page["next"].as_str().unwrap());
    let page = app.call(ADMIN, "GET", &next, None).await.json();
    assert_eq!((page["sessions"].as_array().unwrap().len(), page.get("next")), (1, None));
    let file = format!("/v1/sessions/{id}/files/d/%C3%A4%20b.bin");
    let put = app.request(ADMIN, "PUT", &file).body(Body::from(vec![0, 255, 1])).unwrap();
    assert_eq!(app.send(put).await.status, 204);
    assert!(app.workers[0].seen.files.lock().unwrap().contains_key("d/ä b.bin"));
    assert_eq!(app.call(ADMIN, "GET", &file, None).await.body, [0, 255, 1]);
    app.call(ADMIN, "GET", &format!("/v1/sessions/{id}/files/none"), None).await.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_the_worker_does_not_have_is_lost() {
    let app = TestApp::new().await;
    let id = app.session(ADMIN).await;
    app.workers[0].seen.sessions.lock().unwrap().clear();
    app.call(ADMIN, "GET", &format!("/v1/sessions/{id}"), None).await.problem(410, "session-lost");
    let run = json!({"code": "1", "session": id});
    app.call(ADMIN, "POST", "/v1/runs", Some(run)).await.problem(410, "session-lost");
    assert_eq!(app.call(ADMIN, "GET", "/v1/sessions", None).await.json()["sessions"], json!([]));
    assert_eq!(app.call(ADMIN, "DELETE", &format!("/v1/sessions/{id}"), None).await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_asks_the_worker_once_however_many_sessions_it_has() {
    let app = TestApp::new().await;
    let mut made = Vec::new();
    for _ in 0..9 {
        made.push(app.session(ADMIN).await);
    }
    made.sort();
    let listed = app.call(ADMIN, "GET", "/v1/sessions?limit=1000", None).await.json();
    let ids: Vec<&str> = listed["sessions"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect();
    assert_eq!(ids, made, "in the order of their ids");
    assert_eq!(app.workers[0].seen.asked_infos.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_may_be_left_out_is_the_default() {
    let app = TestApp::new().await;
    let fork = format!("/v1/sessions/{}/fork", app.session(ADMIN).await);
    let forked = app.call(ADMIN, "POST", &fork, None).await;
    assert_eq!((forked.status.as_u16(), forked.json()["sessions"].as_array().unwrap().len()), (201, 1));
    let typed = app.request(ADMIN, "POST", &fork).header("content-type", "application/json").body(Body::empty());
    assert_eq!(app.send(typed.unwrap()).await.status, 201);
    let untyped = app.request(ADMIN, "POST", &fork).body(Body::from("{\"count\": 2}"));
    app.send(untyped.unwrap()).await.problem(415, "unsupported-media-type");
    app.call(ADMIN, "POST", &fork, Some(json!([2]))).await.problem(400, "malformed-request");
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_have_names_and_owners() {
    let app = TestApp::new().await;
    let (mine, theirs) = (app.key(&["run"]).await, app.key(&["run"]).await);
    let path = format!("/v1/sessions/{}/snapshots", app.session(&mine).await);
    let made = app.call(&mine, "POST", &path, Some(json!({"name": "base"}))).await;
    assert_eq!((made.status.as_u16(), &made.json()["size_bytes"]), (201, &json!(4_096)));
    app.call(&mine, "POST", &path, Some(json!({"name": "base"}))).await.problem(409, "conflict");
    app.call(&mine, "POST", &path, Some(json!({"name": "a/b"}))).await.problem(422, "invalid-request");
    let from = |name: &str| Some(json!({"snapshot": name}));
    assert_eq!(app.call(&mine, "POST", "/v1/sessions", from("base")).await.json()["language"], "python");
    assert!(app.workers[0].seen.snapshots.lock().unwrap()[0].starts_with("snap_"));
    app.call(&mine, "POST", "/v1/sessions", from("none")).await.problem(404, "not-found");
    app.call(&theirs, "POST", "/v1/sessions", from("base")).await.problem(404, "not-found");
    app.call(&theirs, "DELETE", "/v1/snapshots/base", None).await.problem(404, "not-found");
    assert_eq!(app.call(&theirs, "GET", "/v1/snapshots", None).await.json()["snapshots"], json!([]));
    assert_eq!(app.call(&mine, "GET", "/v1/snapshots", None).await.json()["snapshots"][0]["name"], "base");
    assert_eq!(app.call(&mine, "DELETE", "/v1/snapshots/base", None).await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_not_more_sessions_than_allowed() {
    let app = TestApp::with(1, &[("COFFERDAM_MAX_SESSIONS_PER_KEY", "2")]).await;
    let id = app.session(ADMIN).await;
    let fork = format!("/v1/sessions/{id}/fork");
    app.call(ADMIN, "POST", &fork, Some(json!({"count": 2}))).await.problem(429, "overloaded");
    assert_eq!(app.call(ADMIN, "POST", &fork, Some(json!({"count": 1}))).await.status, 201);
    let more = Some(json!({"language": "python"}));
    app.call(ADMIN, "POST", "/v1/sessions", more).await.problem(429, "overloaded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_its_time_is_over() {
    let app = TestApp::new().await;
    let short = Some(json!({"language": "python", "ttl_s": 1}));
    let id = app.call(ADMIN, "POST", "/v1/sessions", short).await.json()["id"].as_str().unwrap().to_owned();
    let kept = app.session(ADMIN).await;
    let stop = CancellationToken::new();
    let task = tokio::spawn(app.app.sandboxes.clone().keep_reaped(stop.clone()));
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    app.call(ADMIN, "GET", &format!("/v1/sessions/{id}"), None).await.problem(404, "not-found");
    eventually(|| app.workers[0].seen.sessions.lock().unwrap().len() == 1).await;
    assert_eq!(app.call(ADMIN, "GET", &format!("/v1/sessions/{kept}"), None).await.status, 200);
    stop.cancel();
    task.await.unwrap();
}
