//! `/v1/runs` over a fake worker: forwarding, answers, refusals, disconnects.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::{ADMIN, TestApp, eventually};
use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_as_it_came_with_its_limits_and_comes_back() {
    let app = TestApp::new().await;
    let body = json!({"language": "python", "code": "1+1", "limits": {"wall_ms": 1234}, "files": {"a.txt": "ä"}});
    let answer = app.call(ADMIN, "POST", "/v1/runs", Some(body)).await;
    assert_eq!(answer.status, 200);
    assert!(answer.headers["x-request-id"].to_str().unwrap().starts_with("req_"));
    let outcome = answer.json();
    assert_eq!((&outcome["status"], &outcome["stdout"]), (&json!("ok"), &json!("ran 1+1")));
    let seen = app.workers[0].seen.runs.lock().unwrap()[0].clone();
    assert_eq!(seen.id.as_str(), outcome["id"].as_str().unwrap());
    assert_eq!((seen.limits.wall_ms, seen.limits.files), (1234, 1_000));
    assert_eq!(seen.request.files.decode().unwrap(), [("a.txt".to_owned(), "ä".into())]);
    let path = format!("/v1/runs/{}/files/out/b%20c.csv", seen.id);
    assert_eq!(app.call(ADMIN, "GET", &path, None).await.body, b"out/b c.csv");
    let other = app.key(&["run"]).await;
    app.call(&other, "GET", &path, None).await.problem(404, "not-found");
    assert_eq!(app.run(ADMIN, "long").await.json()["stdout"].as_str().unwrap().len(), 3 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_body_gets_its_problem() {
    let app = TestApp::with(1, &[("COFFERDAM_MAX_WALL_MS", "5000")]).await;
    let python = |more: &str| format!(r#"{{"language":"python","code":"1"{more}}}"#).into_bytes();
    let deep = format!(r#"{{"language":"python","code":"1","files":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    let cases: Vec<(Vec<u8>, u16, &str, &str)> = vec![
        (b"{".to_vec(), 400, "malformed-request", "line 1 column 1"),
        (b"".to_vec(), 400, "malformed-request", "not JSON"),
        (b"\xff\xfe{}".to_vec(), 400, "malformed-request", "not UTF-8"),
        (b"[]".to_vec(), 400, "malformed-request", "expected an object"),
        (br#"["python","1"]"#.to_vec(), 400, "malformed-request", "expected an object"),
        (python(r#","limits":[5]"#), 400, "malformed-request", "expected an object"),
        (python(r#","files":{"a.txt":5}"#), 400, "malformed-request", "files: \"a.txt\": invalid type: integer"),
        (
            python(r#","files":[{"path":"a","content":[]}]"#),
            400,
            "malformed-request",
            "files[0]: content: invalid type",
        ),
        (deep.into_bytes(), 400, "malformed-request", ""),
        (br#"{"code":"1"}"#.to_vec(), 422, "invalid-request", "language"),
        (br#"{"language":"ruby","code":"1"}"#.to_vec(), 422, "invalid-request", "ruby"),
        (br#"{"language":"python","code":"\ud800"}"#.to_vec(), 400, "malformed-request", "surrogate"),
        (python(r#","x":1"#), 400, "malformed-request", "unknown field"),
        (python(r#","limits":{"wall_ms":5001}"#), 422, "invalid-request", "wall_ms is 5001"),
        (python(r#","limits":{"files":0}"#), 422, "invalid-request", "files"),
        (python(r#","limits":{"cpu_ms":1e99}"#), 400, "malformed-request", ""),
        (python(r#","files":{"../a":""}"#), 422, "invalid-request", "'..'"),
        (python(r#","files":{"/etc/passwd":""}"#), 422, "invalid-request", "relative"),
        (python(r#","files":[{"path":"a","content_base64":"?"}]"#), 422, "invalid-request", "base64"),
        (python(r#","grants":{"http":[{"host":"*"}]}"#), 422, "invalid-request", "grants"),
        (python(r#","session":"ses_unknown""#), 404, "not-found", "session"),
        (python(r#","session":"../x""#), 422, "invalid-request", "expected an id"),
        (
            format!(r#"{{"language":"python","code":"{}"}}"#, "x".repeat(10 << 20)).into_bytes(),
            413,
            "too-large",
            "code",
        ),
        (vec![b' '; (32 << 20) + 1], 413, "too-large", "bytes"),
    ];
    for (body, status, kind, part) in cases {
        let start = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let request = app.request(ADMIN, "POST", "/v1/runs").header("content-type", "application/json");
        let answer = app.send(request.body(Body::from(body)).unwrap()).await;
        let problem = answer.problem(status, kind);
        assert!(problem["detail"].as_str().unwrap().contains(part), "{start}: {problem}");
    }
    assert_eq!(app.workers[0].seen.runs.lock().unwrap().len(), 0, "none of them reached the worker");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_request_gets_its_problem() {
    let app = TestApp::new().await;
    let run = r#"{"language":"python","code":"1"}"#;
    let post = || app.request(ADMIN, "POST", "/v1/runs");
    let answer = app.send(post().body(Body::from(run)).unwrap()).await;
    answer.problem(415, "unsupported-media-type");
    let answer = app.send(post().header("content-type", "text/plain").body(Body::from(run)).unwrap()).await;
    answer.problem(415, "unsupported-media-type");
    let encoded = post().header("content-type", "application/json").header("content-encoding", "gzip");
    app.send(encoded.body(Body::from(run)).unwrap()).await.problem(415, "unsupported-media-type");
    app.call(ADMIN, "PUT", "/v1/runs", None).await.problem(405, "method-not-allowed");
    app.call(ADMIN, "GET", "/nowhere", None).await.problem(404, "not-found");
    app.call(ADMIN, "GET", "/v1/sessions?limit=x", None).await.problem(400, "malformed-request");
    app.call(ADMIN, "GET", "/v1/sessions?limit=0", None).await.problem(422, "invalid-request");
    app.call(ADMIN, "GET", "/v1/runs/run_x/files/%ff", None).await.problem(400, "malformed-request");
    app.call(ADMIN, "GET", "/v1/runs/run_x/files/a%2f..%2fb", None).await.problem(422, "invalid-request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_cancels_the_run() {
    let app = TestApp::new().await;
    let (seen, base) = (&app.workers[0].seen, app.base.clone());
    for (code, accept) in [("hang", "application/json"), ("events-hang", "text/event-stream")] {
        let before = seen.cancelled.load(Ordering::SeqCst);
        let begun = seen.runs.lock().unwrap().len();
        let body = json!({"language": "python", "code": code}).to_string();
        let request = app.request(ADMIN, "POST", "/v1/runs").header("content-type", "application/json");
        let request = request.header("accept", accept).body(Body::from(body)).unwrap();
        let client: hyper_util::client::legacy::Client<_, Body> =
            hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
        let call = tokio::spawn(async move {
            let response = client.request(request).await.unwrap();
            let _ = response.into_body().collect().await;
        });
        eventually(|| seen.runs.lock().unwrap().len() > begun).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(seen.cancelled.load(Ordering::SeqCst), before, "{base}");
        call.abort();
        eventually(|| seen.cancelled.load(Ordering::SeqCst) == before + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_worker_is_said_and_the_run_is_not_repeated() {
    let app = TestApp::with(2, &[]).await;
    let answer = app.run(ADMIN, "die").await;
    let problem = answer.problem(503, "worker-lost");
    assert_eq!((&problem["retryable"], &answer.headers["retry-after"]), (&json!(true), &"1".parse().unwrap()));
    let runs: usize = app.workers.iter().map(|w| w.seen.runs.lock().unwrap().len()).sum();
    assert_eq!(runs, 1);
    assert_eq!(app.run(ADMIN, "next").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_is_passed_on_after_one_other_worker_was_asked() {
    for workers in [1, 2, 3] {
        let app = TestApp::with(workers, &[]).await;
        let answer = app.run(ADMIN, "busy").await;
        answer.problem(429, "overloaded");
        assert_eq!(answer.headers["retry-after"], "7");
        let asked: usize = app.workers.iter().map(|w| w.seen.runs.lock().unwrap().len()).sum();
        assert_eq!(asked, workers.min(2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_as_they_happen_and_say_when_the_worker_is_lost() {
    let app = TestApp::new().await;
    let post = |code: &str| {
        let body = json!({"language": "python", "code": code}).to_string();
        let request = app.request(ADMIN, "POST", "/v1/runs").header("content-type", "application/json");
        request.header("accept", "text/event-stream").body(Body::from(body)).unwrap()
    };
    let answer = app.send(post("events")).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.starts_with("event: stdout\ndata: {\"text\":\"a\"}\n\n") && text.contains("event: end\n"), "{text}");
    let lost = String::from_utf8(app.send(post("events-die")).await.body).unwrap();
    assert!(lost.contains("event: error\ndata: {\"name\":\"WorkerLost\"") && !lost.contains("event: end"), "{lost}");
}
