//! Upstreams that violate HTTP, and connections that are kept.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cofferdam_contract::OrganizationId;

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
async fn connections_are_kept_within_an_organization() {
    let (rig, server) = (Rig::new().await, Server::echo().await);
    let token = rig.admit(server.grants());
    for _ in 0..20 {
        rig.http(&token, "GET", &server.url("/")).await.good();
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    let again = rig.admit(server.grants());
    rig.http(&again, "GET", &server.url("/")).await.good();
    assert_eq!(server.connections.load(Ordering::SeqCst), 1, "another run of the same organization");
    let mut pass = rig.pass(server.grants());
    pass.caller.organization = OrganizationId::parse("other").unwrap();
    let other = rig.app.gateway.admit(pass).unwrap();
    rig.http(&other, "GET", &server.url("/")).await.good();
    assert_eq!(server.connections.load(Ordering::SeqCst), 2, "another organization");
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
