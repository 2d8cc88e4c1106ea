//! The worker's wire over a real socket: a call, an abandoned call, an uplink and requests on it.

use std::convert::Infallible;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use cofferdam_contract::uplink::{GATEWAY_HEADER, TOKEN_HEADER, UPGRADE};
use cofferdam_contract::worker::{ORGANIZATION_HEADER, ToolsHealth};
use cofferdam_host_api::{Gateway, GatewayError};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;

use super::*;
use crate::worker::lanes;

/// A socket served by the shared worker, with `lanes` threads for connections.
fn socket(lanes: usize) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = StdListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let router = routes::router(Arc::clone(&bench().worker));
    bench().runtime.spawn(async move {
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        lanes::serve(listener, router, lanes, tokio_util::sync::CancellationToken::new()).await;
    });
    (folder, path)
}

async fn send(socket: &Path, request: Request<Body>) -> Response<Incoming> {
    let stream = TokioIo::new(UnixStream::connect(socket).await.unwrap());
    let (mut sender, connection) = http1::handshake(stream).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    sender.send_request(request).await.unwrap()
}

async fn json<T: serde::de::DeserializeOwned>(response: Response<Incoming>) -> T {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

fn post(call: &ToolCall) -> Request<Body> {
    let request = Request::post("/tools/calls").header("host", "w").header(ORGANIZATION_HEADER, "default");
    request.body(Body::from(serde_json::to_vec(call).unwrap())).unwrap()
}

async fn health(socket: &Path) -> ToolsHealth {
    json(send(socket, Request::get("/tools/health").header("host", "w").body(Body::empty()).unwrap()).await).await
}

#[test]
fn a_call_is_answered_and_one_that_is_given_up_is_stopped() {
    let digest = the_tool();
    for lanes in [0, 8] {
        let (_folder, socket) = socket(lanes);
        bench().runtime.block_on(async {
            let sum = to_call(&digest, Some("add"), r#"{"a": 1, "b": 2}"#);
            let outcome: ToolOutcome = json(send(&socket, post(&sum)).await).await;
            assert_eq!(outcome.result.unwrap().get(), "3");
            let refused = send(&socket, post(&to_call(&digest, Some("add"), "{}"))).await;
            assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
            assert_eq!(refused.headers()["content-type"], "application/problem+json");

            let mut spin = to_call(&digest, Some("spin"), "{}");
            spin.depth = 5;
            let given_up = tokio::time::timeout(Duration::from_millis(200), send(&socket, post(&spin))).await;
            assert!(given_up.is_err());
            let since = std::time::Instant::now();
            while bench().worker.admission[5].load().0 > 0 {
                assert!(since.elapsed() < Duration::from_secs(2), "it still runs");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(health(&socket).await.components > 0);
        });
    }
}

async fn upgrade(socket: &Path, name: &str) -> Response<Incoming> {
    let request = Request::post("/tools/uplink").header("host", "w").header("connection", "upgrade");
    let request = request.header("upgrade", UPGRADE).header(GATEWAY_HEADER, name);
    send(socket, request.body(Body::empty()).unwrap()).await
}

/// A gateway that echoes its request.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    if path == "/never" {
        std::future::pending::<()>().await;
    }
    let token = request.headers()[TOKEN_HEADER].to_str().unwrap().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    Ok(Response::new(Full::from(format!("{path} {token} {}", body.len()))))
}

fn ask(path: &str, token: &str, body: Vec<u8>) -> Request<cofferdam_host_api::GatewayBody> {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
    Request::post(path).header(TOKEN_HEADER, token).body(body).unwrap()
}

#[test]
fn an_uplink_carries_requests_to_the_gateway_that_the_token_names() {
    let (_folder, socket) = socket(8);
    let name = "0123456789abcdef";
    let bench = bench();
    let (gateway, serving) = bench.runtime.block_on(async {
        for odd in ["", "0123456789abcdeg"] {
            assert_eq!(upgrade(&socket, odd).await.status(), StatusCode::BAD_REQUEST, "{odd}");
        }
        let upgraded = upgrade(&socket, name).await;
        assert_eq!(upgraded.status(), StatusCode::SWITCHING_PROTOCOLS);
        let connection = hyper::upgrade::on(upgraded).await.unwrap();
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        (bench.worker.uplinks.clone(), tokio::spawn(server.serve_connection(connection, service_fn(answer))))
    });
    // From a guest's thread, with its deadline.
    let (from_guest, token) = (gateway.clone(), format!("{name}.secret"));
    let said = bench.runtime.spawn_blocking(move || {
        let interrupt = Interrupt::new(Some(std::time::Instant::now() + Duration::from_secs(5)));
        let exchange = |path: &str, size: usize| {
            let answer = from_guest.send(ask(path, &token, vec![0; size]));
            interrupt.block_on(async { Ok(answer.await?.into_body().collect().await?.to_bytes()) })
        };
        let large: Result<Result<Bytes, GatewayError>, _> = exchange("/http", 5 << 20);
        assert_eq!(large.unwrap().unwrap(), format!("/http {token} {}", 5 << 20));
        let cut = Interrupt::new(Some(std::time::Instant::now() + Duration::from_millis(50)));
        let never = from_guest.send(ask("/never", &token, vec![]));
        assert!(cut.block_on(never).is_err(), "the deadline cuts a wait");
        let nobody = from_guest.send(ask("/http", "00000000000000ff.other", vec![]));
        assert_eq!(interrupt.block_on(nobody).unwrap().err(), Some(GatewayError::Unreachable));
        exchange("/again", 0).unwrap().unwrap()
    });
    let said = bench.runtime.block_on(said).unwrap();
    assert_eq!(said, format!("/again {name}.secret 0"));
    bench.runtime.block_on(async {
        for (token, expected) in
            [("no-dot", GatewayError::Token), ("fedcba9876543210.other", GatewayError::Unreachable)]
        {
            assert_eq!(gateway.send(ask("/http", token, vec![])).await.err(), Some(expected), "{token}");
        }
        serving.abort();
        let since = std::time::Instant::now();
        while health(&socket).await.uplinks > 0 {
            assert!(since.elapsed() < Duration::from_secs(5), "a dead uplink stays in the table");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}
