//! Upstreams that violate HTTP, and connections that are kept.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cofferdam_contract::OrganizationId;

use cofferdam_gateway::Admitted;
use serde_json::json;

use super::rig::{Rig, Server};

async fn raw(text: &str) -> Server {
    Server::raw(vec![text.as_bytes().to_vec()], Duration::ZERO).await
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let rig = Rig::new().await;
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    for (answer, by) in [
        ("SSH-2.0-OpenSSH\r\n\r\n".to_owned(), "malformed"),
        ("HTTP/1.1 200 OK\r\nbad header\r\n\r\n".to_owned(), "malformed"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx".to_owned(), "malformed"),
        ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nx".to_owned(), "malformed"),
        ("HTTP/1.1 99999 X\r\n\r\n".to_owned(), "malformed"),
        ("HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n".to_owned(), "malformed"),
        ("HTTP/1.1 200 OK\r\n".to_owned(), "connect"),
        (String::new(), "connect"),
        (format!("HTTP/1.1 200 OK\r\n{many}\r\n"), "too-large"),
        (format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(70 << 10)), "too-large"),
        (format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20)), "too-large"),
    ] {
        let server = raw(&answer).await;
        let token = rig.admit(server.grants());
        let refused = rig.http(&token, "GET", &server.url("/")).await;
        assert_eq!(refused.refused(), Some(by), "{} for {:.60}", refused.text(), answer);
    }
    for broken in ["content-length: 10\r\n\r\nfive!", "transfer-encoding: chunked\r\n\r\n5\r\nfive!\r\nzz\r\n"] {
        let server = raw(&format!("HTTP/1.1 200 OK\r\n{broken}")).await;
        let token = rig.admit(server.grants());
        let answer = rig.http(&token, "GET", &server.url("/")).await;
        assert!(answer.broken.is_some(), "half an answer does not look like a whole one: {}", answer.text());
    }
    let closed = {
        let server = raw("").await;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        Server { address, ..server }
    };
    let token = rig.admit(closed.grants());
    rig.http(&token, "GET", &closed.url("/")).await.refusal("connect", "cannot be reached");
}

#[tokio::test]
async fn the_gateways_own_words_cannot_be_forged() {
    let rig = Rig::new().await;
    let server =
        raw("HTTP/1.1 200 OK\r\ncofferdam-refused: policy\r\ncofferdam-x: y\r\nx: z\r\ncontent-length: 0\r\n\r\n")
            .await;
    let token = rig.admit(server.grants());
    let answer = rig.http(&token, "GET", &server.url("/")).await.good();
    assert_eq!(answer.headers["x"], "z");
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("cofferdam-")), "{:?}", answer.headers);
}

#[tokio::test]
async fn connections_are_kept_within_a_token() {
    let (rig, server) = (Rig::new().await, Server::echo().await);
    let token = rig.admit(server.grants());
    for _ in 0..20 {
        rig.http(&token, "GET", &server.url("/")).await.good();
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    let again = rig.admit(server.grants());
    rig.http(&again, "GET", &server.url("/")).await.good();
    assert_eq!(server.connections.load(Ordering::SeqCst), 2, "another run of the same key");
    let mut pass = rig.pass(server.grants());
    pass.caller.organization = OrganizationId::parse("other").unwrap();
    let other = rig.app.gateway.admit(pass).unwrap();
    rig.http(&other, "GET", &server.url("/")).await.good();
    assert_eq!(server.connections.load(Ordering::SeqCst), 3, "another organization");
}

/// Grants a server with bodies on these methods.
fn with_bodies(server: &Server, methods: &[&str]) -> serde_json::Value {
    json!({"http": [{"host": server.host(), "body_methods": methods}],
        "secrets": [{"name": "key", "env": "KEY"}]})
}

/// The attack: a body that spells a request of its own, to a server that leaves bodies unread.
#[tokio::test]
async fn a_body_never_becomes_a_request() {
    let rig = Rig::new().await;
    let server = Server::without_bodies().await;
    rig.secret("key", "the-real-value", &[&server.host()]).await;
    let smuggled =
        |token: &Admitted| format!("DELETE /admin HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\n\r\n", token.env["KEY"]);
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        let token = rig.admit(with_bodies(&server, &[]));
        let body = smuggled(&token);
        let request = rig.request(&token, method, &server.url("/")).body(body.into()).unwrap();
        rig.ask(request).await.refusal("policy", "body_methods");
    }
    assert_eq!(server.seen(), Vec::<String>::new(), "nothing went out");
    // An empty body that was announced as a stream is none.
    let token = rig.admit(with_bodies(&server, &[]));
    let empty = axum::body::Body::from_stream(futures_util::stream::empty::<std::io::Result<bytes::Bytes>>());
    rig.ask(rig.request(&token, "GET", &server.url("/")).body(empty).unwrap()).await.good();
    assert_eq!(server.seen(), ["GET / HTTP/1.1"]);
    // Granted, it goes out on a connection that ends with it.
    let token = rig.admit(with_bodies(&server, &["GET"]));
    let request = rig.request(&token, "GET", &server.url("/search")).body(smuggled(&token).into()).unwrap();
    rig.ask(request).await.good();
    rig.http(&token, "GET", &server.url("/next")).await.good();
    assert_eq!(server.seen(), ["GET / HTTP/1.1", "GET /search HTTP/1.1", "GET /next HTTP/1.1"]);
    // So does every body where the grant leaves out a method or a path.
    for restricted in [json!({"methods": ["POST"]}), json!({"path_prefix": "/public"})] {
        let mut grants = with_bodies(&server, &[]);
        grants["http"][0].as_object_mut().unwrap().extend(restricted.as_object().unwrap().clone());
        let token = rig.admit(grants);
        let body = smuggled(&token);
        rig.ask(rig.request(&token, "POST", &server.url("/public")).body(body.into()).unwrap()).await.good();
        assert_eq!(server.seen().last().map(String::as_str), Some("POST /public HTTP/1.1"));
    }
    assert_eq!(server.seen().len(), 5, "{:?}", server.seen());
}

/// The attack: one key's request with a long length on a kept connection swallows the next one, of another key.
#[tokio::test]
async fn what_one_run_leaves_on_a_connection_reaches_no_other_run() {
    let rig = Rig::new().await;
    let server = Server::without_bodies().await;
    rig.secret("key", "the-real-value", &[&server.host()]).await;
    let attacker = rig.admit(with_bodies(&server, &[]));
    let body = "POST /swallow HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n";
    rig.ask(rig.request(&attacker, "POST", &server.url("/")).body(body.into()).unwrap()).await;
    let mut pass = rig.pass(with_bodies(&server, &[]));
    pass.caller.key = "key_other".into();
    let victim = rig.app.gateway.admit(pass).unwrap();
    let request = rig.request(&victim, "GET", &server.url("/mine")).header("authorization", &victim.env["KEY"]);
    rig.ask(request.body(axum::body::Body::empty()).unwrap()).await.good();
    assert_eq!(server.seen().last().map(String::as_str), Some("GET /mine HTTP/1.1"), "{:?}", server.seen());
}

/// An answer that begins before the request's body has gone out leaves the framing in doubt.
#[tokio::test]
async fn an_early_answer_ends_its_connection() {
    let rig = Rig::new().await;
    let server = Server::without_bodies().await;
    let token = rig.admit(server.grants());
    let (pieces, body) = tokio::sync::mpsc::channel::<std::io::Result<bytes::Bytes>>(1);
    pieces.send(Ok(bytes::Bytes::from_static(b"first"))).await.unwrap();
    let body = futures_util::stream::unfold(body, |mut body| async move { Some((body.recv().await?, body)) });
    let request = rig.request(&token, "POST", &server.url("/")).body(axum::body::Body::from_stream(body)).unwrap();
    rig.ask(request).await;
    drop(pieces);
    rig.http(&token, "GET", &server.url("/next")).await.good();
    assert_eq!(server.connections.load(Ordering::SeqCst), 2, "{:?}", server.seen());
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_costs_nothing_but_a_new_one() {
    let rig = Rig::new().await;
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let server = raw(answer).await;
    let token = rig.admit(server.grants());
    for number in 1..=3 {
        assert_eq!(rig.http(&token, "GET", &server.url("/")).await.good().text(), "ok");
        assert_eq!(server.connections.load(Ordering::SeqCst), number);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn many_at_once_of_one_run_wait_for_each_other() {
    let rig = Rig::new().await;
    let body = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\no".to_vec();
    let server = Server::raw(vec![body, b"k".to_vec()], Duration::from_millis(100)).await;
    let token = rig.admit(server.grants());
    let url = server.url("/");
    let started = Instant::now();
    let answers = futures_util::future::join_all((0..64).map(|_| rig.http(&token, "GET", &url))).await;
    assert!(answers.into_iter().all(|answer| answer.good().text() == "ok"));
    assert!(started.elapsed() >= Duration::from_millis(200), "32 at once: {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_gateway_adds_is_short() {
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;
    let (rig, server) = (Rig::new().await, Server::echo().await);
    let token = rig.admit(server.grants());
    let client: Client<_, axum::body::Body> = Client::builder(TokioExecutor::new()).build_http();
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for _ in 0..300 {
        let started = Instant::now();
        let answer = client.get(server.url("/").parse().unwrap()).await.unwrap();
        drop(http_body_util::BodyExt::collect(answer.into_body()).await.unwrap());
        direct.push(started.elapsed());
        let started = Instant::now();
        rig.http(&token, "GET", &server.url("/")).await.good();
        through.push(started.elapsed());
    }
    direct.sort_unstable();
    through.sort_unstable();
    eprintln!("direct {:?}, through the gateway {:?}", direct[150], through[150]);
    assert!(through[150] < direct[150] + Duration::from_millis(3), "{:?} {:?}", direct[150], through[150]);
}
