//! Tool workers, local and behind a code-runner: missing components, uplinks, lost workers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use cofferdam_contract::worker::ToolsHealth;
use cofferdam_contract::{Grants, Limits, OrganizationId, Problem, RunId, Status, ToolCall, ToolOutcome, Usage};
use cofferdam_controller::server::{accept, front};
use cofferdam_core::Failure;
use cofferdam_core::Secret;
use cofferdam_workers::RemoteWorker;
use cofferdam_workers::supervisor::{Components, ToolProgram};
use cofferdam_workers::{Error, ToolWorker, ToolWorkers, Watched, Worker};
use hyper_util::rt::TokioIo;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

const NAME: &str = "0123456789abcdef";

/// The state of a fake tool worker: the folder for "compiled" components, and the requests it received.
struct Fake {
    cache: PathBuf,
    calls: AtomicUsize,
}

async fn health() -> Json<ToolsHealth> {
    Json(ToolsHealth { calls_active: 0, calls_waiting: 0, components: 0, uplinks: 0 })
}

async fn call(State(fake): State<Arc<Fake>>, body: Bytes) -> axum::response::Response {
    fake.calls.fetch_add(1, Ordering::Relaxed);
    let call: ToolCall = serde_json::from_slice(&body).unwrap();
    match call.tool.as_str() {
        "slow" => tokio::time::sleep(Duration::from_secs(60)).await,
        "die" => panic!("as asked"),
        _ => {}
    }
    if !fake.cache.join(&call.digest).exists() {
        let problem = serde_json::to_vec(&Problem::component_missing("not here")).unwrap();
        return (StatusCode::CONFLICT, problem).into_response();
    }
    let result = RawValue::from_string(format!("{{\"got\":{}}}", call.arguments)).unwrap();
    let outcome = ToolOutcome {
        id: call.id,
        status: Status::Ok,
        result: Some(result),
        error: None,
        logs: String::new(),
        usage: Usage::default(),
    };
    Json(outcome).into_response()
}

/// Echoes everything.
async fn uplink(mut request: Request<Body>) -> Response<Body> {
    assert_eq!(request.headers()["cofferdam-gateway"], NAME);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut connection = TokioIo::new(upgrade.await.unwrap());
        let mut bytes = vec![0; 64 << 10];
        while let Ok(n @ 1..) = connection.read(&mut bytes).await {
            connection.write_all(&bytes[..n]).await.unwrap();
        }
    });
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    response.header("connection", "upgrade").header("upgrade", "cofferdam-uplink").body(Body::empty()).unwrap()
}

/// A tool worker on a socket, with a compiler that is a shell script.
async fn worker(folder: &FsPath) -> (Arc<ToolWorker>, Arc<Fake>) {
    let socket = folder.join("tools.sock");
    let fake = Arc::new(Fake { cache: folder.to_owned(), calls: AtomicUsize::new(0) });
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let router = Router::new()
        .route("/tools/health", get(health))
        .route("/tools/calls", post(call))
        .route("/tools/uplink", post(uplink))
        .with_state(Arc::clone(&fake));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let script = format!(
        r#"cat > {}/$0; printf '{{"digest":"%s","size_bytes":1,"functions":[],"imports":[]}}\n' "$0""#,
        folder.display()
    );
    let program = ToolProgram {
        program: "/bin/sh".into(),
        worker: vec![],
        compile: vec!["-c".into(), script.into()],
        env: vec![("PATH".into(), std::env::var_os("PATH").unwrap_or_default())],
    };
    let worker = ToolWorker::local(socket, Arc::new(Components::new(program)));
    worker.check(Duration::from_secs(3)).await.unwrap();
    (worker, fake)
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn to_call(tool: &str, component: &[u8]) -> ToolCall {
    ToolCall {
        id: RunId::from_random(1),
        tool: tool.to_owned(),
        digest: digest(component),
        export: None,
        arguments: RawValue::from_string("{\"a\":1}".to_owned()).unwrap(),
        limits: Limits::DEFAULT,
        grants: Grants::default(),
        env: Default::default(),
        token: None,
        depth: 0,
    }
}

fn kind(error: &Error) -> &str {
    error.refused().unwrap_or_else(|| panic!("{error}")).kind()
}

/// A code-runner in front of that worker, and the worker as a controller on another machine reaches it.
async fn behind_a_front(local: Arc<ToolWorker>, folder: &FsPath, stop: &CancellationToken) -> Arc<ToolWorker> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let router = front(Worker::local(folder.join("none.sock")), Some(local), &Secret::new("hush"));
    tokio::spawn(accept(listener, router, stop.clone(), Duration::from_secs(1)));
    let remote = ToolWorker::remote(&RemoteWorker { authority }, Some(&Secret::new("hush"))).unwrap();
    remote.check(Duration::from_secs(3)).await.unwrap();
    remote
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_is_missing_is_sent_once_here_and_behind_a_front() {
    for remote in [false, true] {
        let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        let (mut worker, fake) = worker(folder.path()).await;
        if remote {
            worker = behind_a_front(worker, folder.path(), &stop).await;
        }
        let (workers, organization) = (ToolWorkers::new(vec![worker]), OrganizationId::default_organization());
        let asked = AtomicUsize::new(0);
        let component = || {
            asked.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, Error>(Bytes::from_static(b"bytes")) }
        };
        for _ in 0..3 {
            let outcome = workers.call(&organization, &to_call("t", b"bytes"), component).await.unwrap();
            assert_eq!(outcome.result.unwrap().get(), "{\"got\":{\"a\":1}}");
        }
        assert_eq!((asked.load(Ordering::Relaxed), fake.calls.load(Ordering::Relaxed)), (1, 4), "remote: {remote}");
        assert_eq!(std::fs::read(folder.path().join(digest(b"bytes"))).unwrap(), b"bytes");
        let wrong = workers.ensure(&digest(b"bytes"), Bytes::from_static(b"others")).await.unwrap_err();
        assert_eq!(kind(&wrong), "invalid-request");
        let described = workers.ensure(&digest(b"bytes"), Bytes::from_static(b"bytes")).await.unwrap();
        assert_eq!(described.digest, digest(b"bytes"));
        stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uplink_goes_through_the_front() {
    let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let (local, _) = worker(folder.path()).await;
    let remote = behind_a_front(Arc::clone(&local), folder.path(), &stop).await;
    for worker in [local, remote] {
        let mut uplink = TokioIo::new(worker.uplink(NAME).await.unwrap());
        let (sent, mut back) = (vec![7; 3 << 20], Vec::new());
        let (mut read, mut write) = tokio::io::split(&mut uplink);
        let sending = async {
            write.write_all(&sent).await.unwrap();
            write.flush().await.unwrap();
        };
        let receiving = async {
            let mut piece = vec![0; 64 << 10];
            while back.len() < sent.len() {
                let n = read.read(&mut piece).await.unwrap();
                assert!(n > 0, "it ends after {} bytes", back.len());
                back.extend_from_slice(&piece[..n]);
            }
        };
        tokio::time::timeout(Duration::from_secs(10), async { tokio::join!(sending, receiving) }).await.unwrap();
        assert!(back == sent);
    }
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_worker_and_one_that_is_not_ready_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (worker, _) = worker(folder.path()).await;
    let (workers, organization) = (ToolWorkers::new(vec![Arc::clone(&worker)]), OrganizationId::default_organization());
    let component = || async { Ok::<_, Error>(Bytes::new()) };
    let lost = workers.call(&organization, &to_call("die", b""), component).await.unwrap_err();
    assert_eq!(kind(&lost), "worker-lost");
    worker.lost();
    let unready = workers.call(&organization, &to_call("t", b""), component).await.unwrap_err();
    assert_eq!(kind(&unready), "unavailable");
    worker.check(Duration::from_secs(3)).await.unwrap();
    let slow = to_call("slow", b"");
    let given_up = tokio::time::timeout(Duration::from_millis(200), workers.call(&organization, &slow, component));
    assert!(given_up.await.is_err());
    assert_eq!(worker.active(), 0, "who gives up is not counted any more");
}
