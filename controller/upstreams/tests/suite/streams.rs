//! Streams that are passed on: at once, byte for byte, and with little memory.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::server::{KEY, Server, Step, chat, chunk, openai, stream_head, whole};

#[tokio::test]
async fn each_event_is_passed_on_before_the_next_one_comes() {
    let gate = Arc::new(Semaphore::new(0));
    // The ends look like beginnings of the key and of its encodings.
    let ends = ["sk", "c2st", "736b2d", "\\\\", "%73", "=", "\\u0073", "s", "\"", "&#"];
    let events: Vec<String> = ends.iter().map(|end| format!("data: {{\"text\":\"{end}\"}}\n\n")).collect();
    let mut steps = vec![Step::Write(stream_head("text/event-stream"))];
    for event in &events {
        steps.extend([Step::Write(chunk(event)), Step::Gate(Arc::clone(&gate))]);
    }
    steps.push(Step::Write(chunk("")));
    let server = Server::start(move |_| steps.clone()).await;
    let sent = chat(&openai(&server)).await.unwrap();
    assert!(sent.events);
    let mut body = sent.body;
    for event in &events {
        let frame = timeout(Duration::from_secs(5), body.frame()).await.expect("at once").unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), event.as_bytes());
        gate.add_permits(1);
    }
    assert!(timeout(Duration::from_secs(5), body.frame()).await.expect("ends").is_none());
}

#[tokio::test]
async fn a_key_in_a_stream_is_taken_out_across_pieces() {
    let (head, tail) = KEY.split_at(11);
    let pieces = [format!("data: {{\"x\":\"{head}"), format!("{tail}\"}}\n\n")];
    let wire = [stream_head("text/event-stream"), chunk(&pieces[0]), chunk(&pieces[1]), chunk("")].concat();
    let server = Server::always(wire).await;
    let (bytes, ended) = whole(chat(&openai(&server)).await.unwrap()).await;
    assert_eq!((ended, String::from_utf8(bytes).unwrap()), (Ok(()), "data: {\"x\":\"[key]\"}\n\n".to_owned()));
}

#[tokio::test]
async fn a_long_event_is_passed_on_in_pieces() {
    let long = format!("data: {}\n\n", "x".repeat(50 << 20));
    let wire = [stream_head("text/event-stream"), chunk(&long), chunk("")].concat();
    let server = Server::always(wire).await;
    let (bytes, ended) = whole(chat(&openai(&server)).await.unwrap()).await;
    assert!(ended.is_ok() && bytes == long.as_bytes());
}

#[tokio::test]
async fn connections_are_used_again_and_dead_ones_are_not() {
    let server = Server::always([stream_head("text/event-stream"), chunk("data: 1\n\n"), chunk("")].concat()).await;
    let upstream = openai(&server);
    for _ in 0..5 {
        let (_, ended) = whole(chat(&upstream).await.unwrap()).await;
        ended.unwrap();
        // The connection is ready again a moment after the last byte.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
    let once = Server::start(|_| vec![Step::Write(crate::server::json(200, "{}")), Step::Close]).await;
    let upstream = openai(&once);
    for calls in 1..=3 {
        let (_, ended) = whole(chat(&upstream).await.unwrap()).await;
        ended.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(once.connections.load(std::sync::atomic::Ordering::SeqCst), calls);
    }
}
