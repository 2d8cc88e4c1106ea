//! Following over connections that break.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use super::*;

/// Answers one connection after the other, and returns the requests.
fn serve(answers: Vec<String>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        answers
            .into_iter()
            .map(|answer| {
                let (mut stream, _) = listener.accept().unwrap();
                let (mut request, mut bytes) = (Vec::new(), [0; 4096]);
                let whole = |request: &[u8]| {
                    let text = String::from_utf8_lossy(request);
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    body.len() >= length.map_or(0, |length| length.parse().unwrap())
                };
                while !whole(&request) {
                    let read = stream.read(&mut bytes).unwrap();
                    request.extend_from_slice(&bytes[..read]);
                }
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8(request).unwrap()
            })
            .collect()
    });
    (url, asked)
}

fn event(id: u64, kind: &str, data: &str) -> String {
    format!(
        "id: {id}\nevent: {kind}\ndata: {{\"id\":{id},\"type\":\"{kind}\",\"task_id\":\"task_1\",\"data\":{data}}}\n\n"
    )
}

/// A stream that breaks off behind these events, or ends there.
fn stream(events: &[String], whole: bool) -> String {
    let body = events.concat();
    let length = body.len() + usize::from(!whole);
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {length}\r\n\r\n{body}")
}

fn start() -> Start {
    Start::Invoke {
        path: "/v1/agents/a/invoke/stream".into(),
        body: b"{\"input\":\"x\"}".to_vec(),
        once: "key-1".into(),
    }
}

#[tokio::test]
async fn a_stream_that_breaks_goes_on_behind_its_last_event() {
    let busy = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_owned();
    let (url, asked) = serve(vec![
        // Before the task is known, the same request is sent again with the same key.
        stream(&[], false),
        stream(&[event(1, "task_created", "{}"), event(2, "chunk", "\"a\"")], false),
        busy,
        // A proxy that ends the stream as if it were over; and one event twice.
        stream(&[event(2, "chunk", "\"a\""), event(3, "chunk", "\"b\"")], true),
        stream(&[event(4, "task_finished", "{\"status\":\"completed\"}")], true),
    ]);
    let (sender, mut events) = mpsc::channel(16);
    let followers = follow::Followers::new(Server::at(&url, None).unwrap(), sender, start());
    let mut ids = Vec::new();
    while ids.last() != Some(&4) {
        match events.recv().await.unwrap() {
            Sent::Event { event, depth } => {
                assert_eq!(depth, 0);
                ids.push(event.id);
            }
            Sent::Failed(error) => unreachable!("{error}"),
        }
    }
    assert_eq!(ids, [1, 2, 3, 4]);
    drop(followers);
    let asked = asked.join().unwrap();
    for first in &asked[..2] {
        assert!(
            first.starts_with("POST /v1/agents/a/invoke/stream") && first.contains("idempotency-key: key-1\r\n"),
            "{first}"
        );
    }
    for (again, after) in asked[2..].iter().zip([2, 2, 3]) {
        let header = format!("last-event-id: {after}\r\n");
        assert!(again.starts_with("GET /v1/tasks/task_1/events ") && again.contains(&header), "{again}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_in_the_servers_words() {
    let refused = cofferdam_contract::Problem::conflict("No model is configured: set OPENAI_API_KEY.");
    let problem = serde_json::to_string(&refused).unwrap();
    let head = "HTTP/1.1 409 Conflict\r\ncontent-type: application/problem+json";
    let (url, asked) = serve(vec![format!("{head}\r\ncontent-length: {}\r\n\r\n{problem}", problem.len())]);
    let ended = live(&Server::at(&url, None).unwrap(), start(), Form::Json).await;
    assert!(ended.unwrap_err().to_string().contains("No model is configured: set OPENAI_API_KEY."));
    asked.join().unwrap();
}

#[tokio::test]
async fn a_task_that_waits_for_a_person_ends_the_command() {
    let paused = r#"{"id":"task_1","status":"paused","internal_status":"needs_approval"}"#;
    let asked = r#"{"call_id":"1-1","tool":"rm","arguments":{},"digest":"d","unknown_outcome":false}"#;
    let answer = stream(&[event(1, "approval_requested", asked), event(2, "task_updated", paused)], false);
    // The server says no more: the connection stays open.
    let (url, _asked) = serve_open(answer);
    let end = live(&Server::at(&url, None).unwrap(), start(), Form::Json).await.unwrap();
    assert_eq!(end, End::Waits);
}

/// Answers one connection and keeps it open.
fn serve_open(answer: String) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let kept = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 4096];
        let _ = stream.read(&mut bytes).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        // Until the client goes.
        while stream.read(&mut bytes).is_ok_and(|read| read > 0) {}
    });
    (url, kept)
}
