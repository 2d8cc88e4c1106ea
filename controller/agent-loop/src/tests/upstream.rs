//! A provider of models that answers from a script: one reply a call, then `done`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// Events of a stream that ends well.
    Events(Vec<Value>),
    /// The same, with a pause before each.
    Slow(Vec<Value>, Duration),
    /// Events, and then the connection ends.
    Cut(Vec<Value>),
    /// A status with headers and a body.
    Status(u16, &'static str, String),
    /// Bytes as they are, as the body of a stream.
    Raw(String),
}

/// An answer in words.
pub(super) fn text(text: &str) -> Reply {
    let half = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
    Reply::Events(vec![
        delta(json!({"content": &text[..half]})),
        delta(json!({"content": &text[half..]})),
        stop("stop"),
        usage(),
    ])
}

/// An answer that calls tools.
pub(super) fn calls(calls: &[(&str, Value)]) -> Reply {
    let texts: Vec<(&str, String)> = calls.iter().map(|(name, arguments)| (*name, arguments.to_string())).collect();
    raw_calls(&texts)
}

/// The same with arguments as they are.
pub(super) fn raw_calls(calls: &[(&str, String)]) -> Reply {
    let call = |(at, (name, arguments)): (usize, &(&str, String))| json!({"index": at, "id": format!("theirs-{at}"), "type": "function", "function": {"name": name, "arguments": arguments}});
    let calls: Vec<Value> = calls.iter().enumerate().map(call).collect();
    Reply::Events(vec![delta(json!({"tool_calls": calls})), stop("tool_calls"), usage()])
}

pub(super) fn delta(delta: Value) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

pub(super) fn stop(reason: &str) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

pub(super) fn usage() -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10}})
}

#[derive(Clone)]
pub(super) struct Upstream {
    pub base: String,
    script: Arc<Mutex<VecDeque<Reply>>>,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Upstream {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let upstream = Self { base, script: Arc::default(), seen: Arc::default() };
        let served = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, served.clone()));
            }
        });
        upstream
    }

    pub(super) fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        self.script.lock().extend(replies);
    }

    /// The requests so far.
    pub(super) fn seen(&self) -> Vec<Value> {
        self.seen.lock().clone()
    }
}

async fn serve(mut stream: TcpStream, upstream: Upstream) -> Option<()> {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        let mut piece = [0; 16_384];
        let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&piece[..read]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok()).unwrap_or(0);
            break (end + 4, length);
        }
    };
    while bytes.len() < head + length {
        let mut piece = [0; 16_384];
        let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&piece[..read]);
    }
    upstream.seen.lock().push(serde_json::from_slice(&bytes[head..]).unwrap_or_default());
    let reply = upstream.script.lock().pop_front().unwrap_or_else(|| text("done"));
    let event = |data: &Value| format!("data: {data}\n\n");
    let begin = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    match reply {
        Reply::Events(events) => {
            let all: String = events.iter().map(event).collect();
            stream.write_all(format!("{begin}{all}data: [DONE]\n\n").as_bytes()).await.ok()?;
        }
        Reply::Slow(events, pause) => {
            stream.write_all(begin.as_bytes()).await.ok()?;
            for one in &events {
                stream.write_all(event(one).as_bytes()).await.ok()?;
                stream.flush().await.ok()?;
                tokio::time::sleep(pause).await;
            }
            stream.write_all(b"data: [DONE]\n\n").await.ok()?;
        }
        Reply::Cut(events) => {
            let all: String = events.iter().map(event).collect();
            stream.write_all(format!("{begin}{all}").as_bytes()).await.ok()?;
        }
        Reply::Raw(body) => stream.write_all(format!("{begin}{body}").as_bytes()).await.ok()?,
        Reply::Status(status, headers, body) => {
            let head = format!(
                "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n",
                body.len()
            );
            stream.write_all(format!("{head}{body}").as_bytes()).await.ok()?;
        }
    }
    stream.shutdown().await.ok()
}
