//! Clients that read nothing of their answers, over real sockets: they are given up, and they keep nobody else out.

use axum::Extension;
use axum::routing::get;
use cofferdam_http::Known;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use tokio_util::sync::DropGuard;

use super::*;

/// More than the sockets' buffers hold.
const ANSWER_BYTES: usize = 32 << 20;
const PIPELINED: &str = "GET /open HTTP/1.1\r\nhost: a\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(10);

/// A server with one route that anybody may ask and one that stands for those with a key.
async fn serve(bounds: Bounds) -> (std::net::SocketAddr, DropGuard) {
    let router = Router::new().route("/open", get(|| async { vec![7_u8; ANSWER_BYTES] })).route(
        "/keyed",
        get(|Extension(known): Extension<Known>| async move {
            known.mark("one");
            "done"
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    tokio::spawn(accept_within(bounds, listener, router, stop.clone(), Duration::ZERO));
    (address, stop.drop_guard())
}

async fn connect(address: std::net::SocketAddr, requests: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(requests.as_bytes()).await.unwrap();
    client
}

/// Sends a request with a key and returns true if it is answered.
async fn ask(client: &mut TcpStream) -> bool {
    let asked = async {
        client.write_all(b"GET /keyed HTTP/1.1\r\nhost: a\r\n\r\n").await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"done") {
            if client.read_buf(&mut answer).await? == 0 {
                return Ok(false);
            }
        }
        Ok::<_, std::io::Error>(true)
    };
    timeout(PATIENCE, asked).await.expect("an answer in time").unwrap_or(false)
}

/// Reads until the other side has closed, and returns the bytes that came before.
async fn drain_closed(client: &mut TcpStream) -> usize {
    let (mut piece, mut bytes) = (vec![0; 64 << 10], 0);
    loop {
        match timeout(PATIENCE, client.read(&mut piece)).await.expect("a closed connection") {
            Ok(0) | Err(_) => return bytes,
            Ok(read) => bytes += read,
        }
    }
}

#[tokio::test]
async fn unread_answers_are_given_up() {
    let (address, _stop) = serve(Bounds { connections: 1, write_timeout: Duration::from_millis(300) }).await;
    let mut unread = connect(address, &PIPELINED.repeat(50)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(drain_closed(&mut unread).await < ANSWER_BYTES);
}

#[tokio::test]
async fn a_key_is_served_where_strangers_hold_every_place() {
    let (address, _stop) = serve(Bounds { connections: 4, write_timeout: Duration::from_secs(100) }).await;
    let mut regular = connect(address, "").await;
    assert!(ask(&mut regular).await);
    let mut unread = Vec::new();
    for _ in 0..12 {
        unread.push(connect(address, &PIPELINED.repeat(50)).await);
    }
    let start = Instant::now();
    let mut late = connect(address, "").await;
    assert!(ask(&mut late).await && ask(&mut regular).await);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(drain_closed(&mut unread[0]).await < ANSWER_BYTES, "the oldest stranger is closed");
}

#[tokio::test]
async fn a_key_that_holds_every_place_makes_room_between_its_requests() {
    let (address, _stop) = serve(Bounds { connections: 2, write_timeout: PATIENCE }).await;
    let (mut first, mut second) = (connect(address, "").await, connect(address, "").await);
    assert!(ask(&mut first).await && ask(&mut second).await);
    let start = Instant::now();
    let mut other = connect(address, "").await;
    assert!(ask(&mut other).await);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(!ask(&mut first).await, "the oldest was idle and is closed");
    assert!(ask(&mut second).await);
}

/// The bytes of all answers until the other side closes.
async fn all(address: std::net::SocketAddr, requests: &str) -> String {
    let mut client = connect(address, requests).await;
    let mut answers = Vec::new();
    timeout(PATIENCE, client.read_to_end(&mut answers)).await.expect("a closed connection").unwrap();
    String::from_utf8_lossy(&answers).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_second_request_hides_behind_one_that_can_be_read_in_two_ways() {
    let (address, _stop) = serve(Bounds::for_clients()).await;
    let second = "GET /keyed HTTP/1.1\r\nhost: a\r\n\r\n";
    for (head, status) in [
        ("host: a\r\ncontent-length: 6\r\ntransfer-encoding: chunked", 200),
        ("host: a\r\ntransfer-encoding: chunked\r\ncontent-length: 6", 200),
        ("host: a\r\nhost: b", 400),
        ("host: a\r\nhost: a", 400),
        ("accept: */*", 400),
        ("host: a\r\nte: gzip", 400),
        ("host: a\r\ntransfer-encoding: gzip, chunked", 400),
        ("host: a\r\ncontent-length: 3\r\ncontent-length: 5", 400),
        ("host: a\r\nx: 1\r\n folded", 400),
    ] {
        let body = if head.contains("transfer-encoding") { "0\r\n\r\n" } else { "" };
        let answers = all(address, &format!("GET /keyed HTTP/1.1\r\n{head}\r\n\r\n{body}{second}")).await;
        assert!(answers.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{head}: {answers}");
    }
    let old = all(address, "GET /keyed HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 400") || old.starts_with("HTTP/1.1 400"), "{old}");
    let other = all(address, &format!("GET http://b/keyed HTTP/1.1\r\nhost: a\r\n\r\n{second}")).await;
    assert!(other.starts_with("HTTP/1.1 400") && other.matches("HTTP/1.1 ").count() == 1, "{other}");
}
