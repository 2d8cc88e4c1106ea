//! A caller who goes away.

use std::sync::atomic::Ordering;
use std::time::Duration;

use cofferdam_upstreams::{Kind, SendError, Service, UpstreamSpec};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::server::{CHAT, KEY, Server, Step, ask, chat, chunk, json, made, openai, spec, stream_head, until, whole};

#[tokio::test]
async fn a_dropped_call_closes_the_upstreams_connection() {
    let server = Server::start(|_| vec![Step::Hang]).await;
    let upstream = openai(&server);
    let call = upstream.send(ask(Service::Chat, true, CHAT));
    assert!(timeout(Duration::from_millis(200), call).await.is_err());
    until(|| server.closed.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn a_dropped_body_closes_the_upstreams_connection() {
    let server = Server::start(|_| {
        vec![Step::Write([stream_head("text/event-stream"), chunk("data: 1\n\n")].concat()), Step::Hang]
    })
    .await;
    let upstream = openai(&server);
    for times in 1..=10 {
        let mut sent = chat(&upstream).await.unwrap();
        sent.body.frame().await.unwrap().unwrap();
        drop(sent);
        until(|| server.closed.load(Ordering::SeqCst) == times).await;
    }
    // Callers who go away say nothing about the upstream.
    assert!(upstream.ready("m").is_ok());
}

#[tokio::test]
async fn calls_at_once_are_bounded_and_places_come_back() {
    let server = Server::start(|seen| match seen.path() {
        "/v1/chat/completions" => {
            vec![Step::Write([stream_head("text/event-stream"), chunk("data: 1\n\n")].concat()), Step::Hang]
        }
        _ => vec![Step::Write(json(200, "{}"))],
    })
    .await;
    let two = UpstreamSpec { max_concurrent: 2, ..spec(Kind::Openai, server.url("/v1")) };
    let upstream = made(two, &[KEY]);
    let (first, second) = (chat(&upstream).await.unwrap(), chat(&upstream).await.unwrap());
    assert_eq!(chat(&upstream).await.err(), Some(SendError::Busy));
    drop(first);
    let third = chat(&upstream).await.unwrap();
    drop((second, third));
    for _ in 0..5 {
        let sent = upstream.send(ask(Service::Embeddings, false, CHAT)).await.unwrap();
        whole(sent).await.1.unwrap();
    }
}
