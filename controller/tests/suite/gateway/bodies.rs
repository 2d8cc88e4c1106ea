//! Bodies that are too long, too slow or endless; a long one in little memory.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Request;
use http_body_util::BodyExt;
use serde_json::json;

use super::rig::{Rig, Server};
use crate::support::alone;

fn endless() -> Body {
    Body::from_stream(stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 16 << 10]))))
}

fn of(pieces: u64, pause: Duration) -> Body {
    let pieces = stream::iter(0..pieces).then(move |_| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 1 << 10]))
    });
    Body::from_stream(pieces)
}

async fn server() -> Server {
    let router = axum::Router::new()
        .route("/endless", get(|| async { endless() }))
        .route("/long", get(|| async { vec![b'x'; 3 << 10] }))
        .route("/slow", get(|| async { of(1_000, Duration::from_millis(50)) }))
        .route(
            "/count",
            post(|body: Body| async move {
                let mut count = 0;
                let mut body = body.into_data_stream();
                while let Some(Ok(piece)) = body.next().await {
                    count += piece.len();
                }
                count.to_string()
            }),
        );
    Server::routes(router).await
}

#[tokio::test]
async fn an_answer_is_cut_off_where_the_grant_ends() {
    let (rig, server) = (Rig::new().await, server().await);
    let token = rig.admit(json!({"http": [{"host": server.host(), "max_response_bytes": 2_048, "timeout_ms": 500}]}));
    rig.http(&token, "GET", &server.url("/long")).await.refusal("too-large", "2048 bytes");
    let endless = rig.http(&token, "GET", &server.url("/endless")).await;
    assert_eq!((endless.status.as_u16(), endless.broken.as_deref()), (200, Some("too-large")));
    assert!(endless.body.len() <= 2_048, "{}", endless.body.len());
    let started = Instant::now();
    let slow = rig.http(&token, "GET", &server.url("/slow")).await;
    assert_eq!((slow.broken.as_deref(), slow.body.len()), (Some("too-large"), 2_048));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let drip = Server::raw(vec![b"HTTP/1.1 200 OK\r\n\r\nfirst".to_vec(), b"second".to_vec()], Duration::from_secs(60));
    let drip = drip.await;
    let token = rig.admit(json!({"http": [{"host": drip.host(), "timeout_ms": 300}]}));
    let cut = rig.http(&token, "GET", &drip.url("/")).await;
    assert_eq!((cut.text().as_str(), cut.broken.as_deref()), ("first", Some("timeout")));
    let silent = Server::raw(vec![vec![]], Duration::from_secs(60)).await;
    let token = rig.admit(json!({"http": [{"host": silent.host(), "timeout_ms": 200}]}));
    let started = Instant::now();
    rig.http(&token, "GET", &silent.url("/")).await.refusal("timeout", "0.2 s");
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_request_is_cut_off_where_the_grant_ends() {
    let (rig, server) = (Rig::new().await, server().await);
    let token = rig.admit(json!({"http": [{"host": server.host(), "max_request_bytes": 2_048, "timeout_ms": 500}]}));
    let post = |body: Body| rig.request(&token, "POST", &server.url("/count")).body(body).unwrap();
    assert_eq!(rig.ask(post(Body::from(vec![b'x'; 2_048]))).await.good().text(), "2048");
    assert_eq!(rig.ask(post(of(2, Duration::ZERO))).await.good().text(), "2048");
    rig.ask(post(Body::from(vec![b'x'; 2_049]))).await.refusal("too-large", "max_request_bytes");
    rig.ask(post(of(3, Duration::ZERO))).await.refusal("too-large", "max_request_bytes");
    rig.ask(post(endless())).await.refusal("too-large", "max_request_bytes");
    let started = Instant::now();
    rig.ask(post(Body::from_stream(stream::pending::<Result<Bytes, Infallible>>()))).await.refusal("timeout", "0.5 s");
    assert!(started.elapsed() < Duration::from_secs(1));
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_body_passes_in_little_memory() {
    if alone("gateway::bodies::a_long_body_passes_in_little_memory") {
        return;
    }
    const LONG_BYTES: u64 = 256 << 20;
    let (rig, server) = (Rig::new().await, server().await);
    let most = json!({"host": server.host(), "max_response_bytes": LONG_BYTES + (1 << 20), "max_request_bytes": LONG_BYTES, "timeout_ms": 60_000});
    let token = rig.admit(json!({ "http": [most], "secrets": [{"name": "key"}] }));
    rig.secret("key", "a-value-that-is-not-there", &["a.example"]).await;
    let before = resident();
    let request = rig.request(&token, "GET", &server.url("/endless")).body(Body::empty()).unwrap();
    let started = Instant::now();
    let mut body = rig.uplink.clone().send_request(request).await.unwrap().into_body();
    let (mut read, mut peak) = (0_u64, before);
    while read < LONG_BYTES {
        read += body.frame().await.unwrap().unwrap().into_data().unwrap().len() as u64;
        if read % (8 << 20) < 16 << 10 {
            peak = peak.max(resident());
        }
    }
    drop(body);
    eprintln!("{} MiB down in {:?}, {} MiB more", LONG_BYTES >> 20, started.elapsed(), (peak - before) >> 20);
    assert!(peak - before < 64 << 20, "{} MiB", (peak - before) >> 20);
    let started = Instant::now();
    let pieces =
        stream::iter((0..LONG_BYTES >> 16).map(|_| Ok::<_, Infallible>(Bytes::from_static(&[b'y'; 64 << 10]))));
    let request: Request<Body> =
        rig.request(&token, "POST", &server.url("/count")).body(Body::from_stream(pieces)).unwrap();
    assert_eq!(rig.ask(request).await.good().text(), LONG_BYTES.to_string());
    let after = resident();
    eprintln!("{} MiB up in {:?}", LONG_BYTES >> 20, started.elapsed());
    assert!(after.saturating_sub(before) < 64 << 20, "{} MiB", after.saturating_sub(before) >> 20);
}

/// Counts the answers that have ended.
struct Over(Arc<AtomicUsize>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up_with_its_token() {
    let over = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&over);
    let handler = move || {
        let guard = Over(Arc::clone(&counted));
        let pieces = stream::repeat_with(move || {
            let _ = &guard;
            Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 16 << 10]))
        });
        async move { Body::from_stream(pieces) }
    };
    let server = Server::routes(axum::Router::new().route("/", get(handler))).await;
    let rig = Rig::new().await;
    let token = rig.admit(server.grants());
    let request = rig.request(&token, "GET", &server.url("/")).body(Body::empty()).unwrap();
    let unread = rig.uplink.clone().send_request(request).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(over.load(Ordering::SeqCst), 0, "it waits for its reader");
    drop(token);
    for _ in 0..200 {
        if over.load(Ordering::SeqCst) == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(over.load(Ordering::SeqCst), 1, "its connection is closed, although the body was not read");
    drop(unread);
}
