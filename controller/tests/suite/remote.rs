//! A worker on another machine: behind a code-runner, over TCP, with the token.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::Duration;

use crate::support::{ADMIN, TestApp, eventually};
use axum::body::Body;
use cofferdam_controller::server::{accept, front};
use cofferdam_core::Secret;
use cofferdam_testkit::worker::FakeWorker;
use cofferdam_workers::RemoteWorker;
use cofferdam_workers::{Worker, watch};
use tokio_util::sync::CancellationToken;

pub(crate) async fn code_runner(fake: &FakeWorker, stop: &CancellationToken) -> String {
    let worker = fake.worker();
    worker.set_health(Some(worker.ping(Duration::from_secs(3)).await.unwrap()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let router = front(worker, None, &Secret::new("hush"));
    tokio::spawn(accept(listener, router, stop.clone(), Duration::from_secs(1)));
    authority
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_worker_is_reached_with_the_token_only() {
    let folder = tempfile::tempdir().unwrap();
    let (fake, stop) = (FakeWorker::start(folder.path(), 0), CancellationToken::new());
    let remote = RemoteWorker { authority: code_runner(&fake, &stop).await };
    let right = Worker::remote(&remote, Some(&Secret::new("hush"))).unwrap();
    let wrong = Worker::remote(&remote, Some(&Secret::new("guess"))).unwrap();
    assert!(wrong.ping(Duration::from_secs(3)).await.is_err());
    let task = tokio::spawn(watch(Arc::clone(&right), stop.clone()));
    eventually(|| right.is_ready()).await;
    assert_eq!(right.kernel("python"), "python 3.15");

    let app = TestApp::over(vec![right]).await;
    let answer = app.run(ADMIN, "1+1").await;
    assert_eq!(answer.json()["stdout"], "ran 1+1");
    let session = app.session(ADMIN).await;
    let run = serde_json::json!({"code": "2", "session": session});
    assert_eq!(app.call(ADMIN, "POST", "/v1/runs", Some(run)).await.status, 200);
    app.run(ADMIN, "die").await.problem(503, "worker-lost");

    for (path, token, status) in
        [("/health", "", 200), ("/runs", "", 401), ("/sessions/x", "guess", 401), ("/metrics", "", 401)]
    {
        let request = http::Request::get(format!("http://{}{path}", remote.authority));
        let request =
            if token.is_empty() { request } else { request.header("authorization", format!("Bearer {token}")) };
        let answer = app.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
    }
    stop.cancel();
    task.await.unwrap();
}
