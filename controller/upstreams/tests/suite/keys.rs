//! Keys in turn, and the breaker, as calls meet them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use cofferdam_upstreams::{Kind, SendError};

use crate::server::{Server, Step, answer, chat, json, made, spec, whole};

const KEYS: [&str; 2] = ["key-one-0123456789", "key-two-0123456789"];

#[tokio::test]
async fn a_key_that_has_asked_too_much_rests_and_the_other_one_goes_on() {
    let server = Server::start(|seen| match seen.header("authorization").unwrap().contains("one") {
        true => vec![Step::Write(answer(429, "retry-after: 20\r\n", "{}"))],
        false => vec![Step::Write(json(200, "{}"))],
    })
    .await;
    let upstream = made(spec(Kind::Openai, server.url("/v1")), &KEYS);
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(chat(&upstream).await.unwrap().status.as_u16());
    }
    assert_eq!(statuses, [429, 200, 200, 200, 200, 200]);
    assert!(upstream.ready("m").is_ok());
}

#[tokio::test]
async fn an_upstream_whose_keys_all_rest_is_closed_until_the_first_one_is_back() {
    let server = Server::start(|seen| {
        let seconds = if seen.header("authorization").unwrap().contains("one") { 1 } else { 40 };
        vec![Step::Write(answer(429, &format!("retry-after: {seconds}\r\n"), "{}"))]
    })
    .await;
    let upstream = made(spec(Kind::Openai, server.url("/v1")), &KEYS);
    for _ in 0..2 {
        assert_eq!(chat(&upstream).await.unwrap().status, 429);
    }
    let wait = upstream.ready("m").unwrap_err().retry_after;
    assert!(wait <= Duration::from_secs(1), "{wait:?}");
    assert!(matches!(chat(&upstream).await.err(), Some(SendError::Closed { .. })));
    assert_eq!(server.seen().len(), 2);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert!(upstream.ready("m").is_ok());
    assert_eq!(chat(&upstream).await.unwrap().status, 429);
}

#[tokio::test]
async fn failures_open_the_breaker_and_nothing_is_asked_any_more() {
    let status = Arc::new(AtomicU16::new(500));
    let now = Arc::clone(&status);
    let server = Server::start(move |_| vec![Step::Write(json(now.load(Ordering::SeqCst), "{}"))]).await;
    let upstream = made(spec(Kind::Openai, server.url("/v1")), &KEYS);
    // Refusals of a request are no failures.
    for (code, times) in [(500, 4), (200, 1), (529, 4), (400, 20), (503, 1)] {
        status.store(code, Ordering::SeqCst);
        for _ in 0..times {
            // A call counts as good once its body has been read.
            let (_, ended) = whole(chat(&upstream).await.unwrap()).await;
            ended.unwrap();
        }
    }
    // 4 and 1 in a row, with good calls between them.
    assert!(upstream.ready("m").is_ok());
    status.store(502, Ordering::SeqCst);
    for _ in 0..4 {
        chat(&upstream).await.unwrap();
    }
    let asked = server.seen().len();
    let wait = upstream.ready("m").unwrap_err().retry_after;
    assert!(wait > Duration::from_secs(8) && wait <= Duration::from_secs(10), "{wait:?}");
    assert!(matches!(chat(&upstream).await.err(), Some(SendError::Closed { .. })));
    assert_eq!(server.seen().len(), asked);
}

#[tokio::test]
async fn an_upstream_that_is_not_there_opens_the_breaker() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let upstream = made(spec(Kind::Openai, url), &KEYS);
    for _ in 0..5 {
        assert_eq!(chat(&upstream).await.err(), Some(SendError::Connect(std::io::ErrorKind::ConnectionRefused)));
    }
    assert!(upstream.ready("m").is_err());
}

#[tokio::test]
async fn streams_that_break_off_open_the_breaker() {
    let server = Server::start(|_| {
        vec![
            Step::Write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 99\r\n\r\ndata".to_vec(),
            ),
            Step::Close,
        ]
    })
    .await;
    let upstream = made(spec(Kind::Openai, server.url("/v1")), &KEYS);
    for _ in 0..5 {
        assert!(whole(chat(&upstream).await.unwrap()).await.1.is_err());
    }
    assert!(upstream.ready("m").is_err());
}
