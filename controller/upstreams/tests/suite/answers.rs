//! Answers that are none, that are errors, and that show a key.

use std::time::{Duration, Instant as Watch};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cofferdam_upstreams::{
    BodyError, Content, Kind, MAX_ANSWER_BYTES, MAX_ERROR_BYTES, Protocol, SendError, Service, Stage, UpstreamSpec,
};

use crate::server::{
    CHAT, KEY, Server, Step, answer, ask, chat, chunk, json, made, openai, spec, stream_head, text, until, whole,
};

#[tokio::test]
async fn answers_of_any_status_come_back_with_what_helps() {
    for (wire, status, kind, retry_after) in [
        (answer(429, "retry-after: 7\r\ncontent-type: application/json\r\n", "{}"), 429, Content::Json, Some(7_000)),
        (answer(529, "retry-after-ms: 250\r\n", "{}"), 529, Content::Other, Some(250)),
        (answer(500, "content-type: text/html\r\n", "<html>"), 500, Content::Other, None),
        (answer(400, "content-type: application/problem+json\r\n", "{}"), 400, Content::Json, None),
        (answer(200, "content-type: text/html\r\n", "<html>login"), 200, Content::Other, None),
        (answer(200, "content-type: application/json; charset=utf-8\r\n", "{}"), 200, Content::Json, None),
        (answer(404, "content-type: text/event-stream\r\n", "x"), 404, Content::Events, None),
    ] {
        let server = Server::always(wire).await;
        let sent = chat(&openai(&server)).await.unwrap();
        assert_eq!((sent.status.as_u16(), sent.kind, sent.events), (status, kind, false));
        assert_eq!(sent.retry_after.map(|time| time.as_millis()), retry_after);
    }
}

#[tokio::test]
async fn what_is_no_answer_is_an_error_and_says_so() {
    let (lost, first) = (SendError::Protocol(Protocol::Lost), SendError::Timeout(Stage::FirstByte));
    for (steps, expected) in [
        (vec![Step::Close], lost.clone()),
        (vec![Step::Write(b"HTTP/1.1 200 OK\r\ncontent-".to_vec()), Step::Close], lost),
        (vec![Step::Write(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()), Step::Hang], SendError::Protocol(Protocol::Malformed)),
        (
            vec![Step::Write(answer(200, &format!("x: {}\r\n", "y".repeat(300 << 10)), "")), Step::Hang],
            SendError::Protocol(Protocol::TooLarge),
        ),
        (vec![Step::Write(answer(302, "location: https://evil.example/\r\n", ""))], SendError::Redirect(302)),
        (vec![Step::Write(answer(307, "", ""))], SendError::Redirect(307)),
        (vec![Step::Write(answer(200, "content-encoding: gzip\r\n", "x"))], SendError::Protocol(Protocol::Encoded)),
        (
            vec![Step::Write(b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n".to_vec()), Step::Hang],
            SendError::Protocol(Protocol::Switches),
        ),
        (vec![Step::Hang], first.clone()),
        (vec![Step::Write(b"HTTP/1.1 200 OK\r\n".to_vec()), Step::Hang], first),
    ] {
        let server = Server::start(move |_| steps.clone()).await;
        let quick = UpstreamSpec { first_byte_timeout_s: 1, ..spec(Kind::Openai, server.url("/v1")) };
        let why = chat(&made(quick, &[KEY])).await.err().unwrap();
        assert_eq!(why, expected, "{why}");
        assert_eq!(server.seen().len(), 1, "nothing is sent twice: {why}");
    }
}

#[tokio::test]
async fn the_callers_deadline_ends_it_and_does_not_count_as_a_failure() {
    let server = Server::start(|_| vec![Step::Hang]).await;
    let upstream = openai(&server);
    for _ in 0..8 {
        let mut call = ask(Service::Chat, false, CHAT);
        call.deadline = tokio::time::Instant::now() + Duration::from_millis(20);
        assert_eq!(upstream.send(call).await.err(), Some(SendError::Timeout(Stage::Deadline)));
    }
    assert!(upstream.ready("m").is_ok());
    until(|| server.closed.load(std::sync::atomic::Ordering::SeqCst) == 8).await;
}

#[tokio::test]
async fn no_spelling_of_a_key_comes_back() {
    let coded = BASE64_STANDARD.encode(KEY);
    for shown in [KEY.to_owned(), coded, KEY.replace('-', "\\u002d"), KEY.replace('-', "%2D"), hex::encode(KEY)] {
        let body = format!("{{\"error\":{{\"message\":\"wrong key {shown} here\"}}}}");
        for status in [200, 400, 500] {
            // In pieces, so that the key is cut.
            let mut wire = format!("HTTP/1.1 {status} X\r\nx-request-id: {shown}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n").into_bytes();
            for piece in body.as_bytes().chunks(9) {
                wire.extend(chunk(piece));
            }
            wire.extend(chunk(""));
            let server = Server::always(wire).await;
            let sent = chat(&openai(&server)).await.unwrap();
            assert!(sent.headers.get("x-request-id").is_none());
            let body = text(sent).await;
            // Of base64, the last digits say too little to be taken out.
            assert!(
                body.starts_with("{\"error\":{\"message\":\"wrong key [key]") && body.len() < 55,
                "{shown}: {body}"
            );
        }
    }
}

#[tokio::test]
async fn a_refusal_of_the_key_is_told_in_our_words() {
    for (kind, service, status, part) in [
        (Kind::Openai, Service::Chat, 401, "\"code\":\"invalid_api_key\""),
        (Kind::Anthropic, Service::Messages, 401, "\"type\":\"authentication_error\""),
        (Kind::Anthropic, Service::Messages, 403, "\"type\":\"permission_error\""),
    ] {
        let server =
            Server::always(json(status, "{\"error\":{\"message\":\"account of hush: sk-hush-0123...\"}}")).await;
        let sent = made(spec(kind, server.url("/v1")), &[KEY]).send(ask(service, false, CHAT)).await.unwrap();
        assert_eq!((sent.status.as_u16(), sent.kind), (status, Content::Json));
        let body = text(sent).await;
        assert!(body.contains(part) && !body.contains("hush"), "{body}");
    }
}

#[tokio::test]
async fn a_word_that_is_no_key_stays_in_texts() {
    let server = Server::always(json(200, "{\"x\":\"run ollama\"}")).await;
    let upstream = made(spec(Kind::Compatible, server.url("/v1")), &["ollama"]);
    assert_eq!(text(chat(&upstream).await.unwrap()).await, "{\"x\":\"run ollama\"}");
}

#[tokio::test]
async fn bodies_have_a_length() {
    for (status, most) in [(200, MAX_ANSWER_BYTES), (500, MAX_ERROR_BYTES)] {
        let server = Server::start(move |_| {
            let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n\r\n").into_bytes();
            vec![Step::Write(head), Step::Write(vec![b'x'; usize::try_from(most).unwrap() + 1]), Step::Close]
        })
        .await;
        let mut keyless = spec(Kind::Compatible, server.url("/v1"));
        keyless.idle_timeout_s = 5;
        let (bytes, ended) = whole(chat(&made(keyless, &[])).await.unwrap()).await;
        assert_eq!(ended, Err(BodyError::TooLarge(most)));
        assert!(bytes.len() as u64 <= most);
    }
}

#[tokio::test]
async fn bodies_that_do_not_end_are_ended() {
    let lost = vec![Step::Write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec()), Step::Close];
    let silent = vec![Step::Write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec()), Step::Hang];
    let cut = vec![Step::Write([stream_head("text/event-stream"), chunk("data: 1\n\n")].concat()), Step::Close];
    let endless = vec![Step::Write(stream_head("text/event-stream")), Step::Endless(chunk("data: 1\n\n"))];
    for (steps, expected) in [
        (lost, BodyError::Lost),
        (silent, BodyError::Idle(Duration::from_secs(1))),
        (cut, BodyError::Lost),
        (endless, BodyError::Timeout),
    ] {
        let server = Server::start(move |_| steps.clone()).await;
        let quick = UpstreamSpec { idle_timeout_s: 1, timeout_s: 2, ..spec(Kind::Openai, server.url("/v1")) };
        let began = Watch::now();
        let (bytes, ended) = whole(chat(&made(quick, &[KEY])).await.unwrap()).await;
        assert_eq!(ended, Err(expected));
        assert!(!bytes.is_empty() && began.elapsed() < Duration::from_secs(4));
    }
}
