//! A scripted MCP server over HTTP: it does exactly what a test says, byte by byte. A well-behaved one for everything that a
//! test does not script.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as the server got it.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// With its query.
    pub path: String,
    /// By their names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// The body, if it is JSON.
    pub json: Value,
}

impl Asked {
    /// The method of JSON-RPC, or nothing.
    pub fn rpc(&self) -> &str {
        self.json["method"].as_str().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// A parameter of a form in the body.
    pub fn form(&self, name: &str) -> Option<String> {
        pair(&self.body, name)
    }
}

/// A parameter of a form or query.
pub fn pair(text: &str, name: &str) -> Option<String> {
    let text = text.split_once('?').map_or(text, |(_, query)| query);
    let found = text.split('&').find_map(|one| one.strip_prefix(name)?.strip_prefix('='))?;
    let (mut bytes, mut rest) = (Vec::new(), found.bytes());
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            }
            other => bytes.push(other),
        }
    }
    Some(String::from_utf8(bytes).unwrap())
}

/// A step of an answer.
#[derive(Debug, Clone)]
pub enum Step {
    Bytes(Vec<u8>),
    Wait(Duration),
    /// Closes the connection.
    Cut,
}

pub type Reply = Vec<Step>;

/// A whole answer.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    vec![Step::Bytes(format!("{head}\r\n{body}").into_bytes())]
}

/// JSON with a status.
pub fn json_answer(status: u16, body: &Value) -> Reply {
    answer(status, &[("content-type", "application/json")], &body.to_string())
}

/// The result of a request.
pub fn result(asked: &Asked, result: &Value) -> Reply {
    json_answer(200, &json!({ "jsonrpc": "2.0", "id": asked.json["id"], "result": result }))
}

/// The result of a tool, as text.
pub fn said(asked: &Asked, text: &str) -> Reply {
    result(asked, &json!({ "content": [{ "type": "text", "text": text }] }))
}

/// The beginning of a stream of events; `chunk` and `end` go on.
pub fn stream() -> Reply {
    let head = "HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    vec![Step::Bytes(head.as_bytes().to_vec())]
}

/// A piece of a stream.
pub fn chunk(text: &str) -> Step {
    Step::Bytes(format!("{:x}\r\n{text}\r\n", text.len()).into_bytes())
}

/// An event of a stream, with an id or without.
pub fn event(id: &str, message: &Value) -> Step {
    let id = if id.is_empty() { String::new() } else { format!("id: {id}\n") };
    chunk(&format!("{id}data: {message}\n\n"))
}

/// The end of a stream.
pub fn end() -> Step {
    Step::Bytes(b"0\r\n\r\n".to_vec())
}

type Script = dyn Fn(&Asked) -> Option<Reply> + Send + Sync;

/// The server.
pub struct McpServer {
    pub address: SocketAddr,
    asked: Arc<parking::Log>,
    stop: tokio::task::JoinHandle<()>,
}

mod parking {
    use std::sync::Mutex;

    use super::Asked;

    #[derive(Default)]
    pub(crate) struct Log(pub Mutex<Vec<Asked>>);
}

impl Drop for McpServer {
    fn drop(&mut self) {
        self.stop.abort();
    }
}

impl McpServer {
    /// Starts a server. The script answers; for what it does not, the server behaves well, with the tools `a`, `b` and `c`.
    pub async fn start(script: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, script): (Arc<parking::Log>, Arc<Script>) = (Arc::default(), Arc::new(script));
        let sessions = Arc::new(AtomicUsize::new(0));
        let log = Arc::clone(&asked);
        let stop = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (log, script, sessions) = (Arc::clone(&log), Arc::clone(&script), Arc::clone(&sessions));
                tokio::spawn(async move {
                    let _ = serve(stream, &log, &*script, &sessions).await;
                });
            }
        });
        Self { address, asked, stop }
    }

    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// The requests up to now.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.0.lock().unwrap().clone()
    }

    /// The number of requests with this method of JSON-RPC.
    pub fn count(&self, rpc: &str) -> usize {
        self.asked().iter().filter(|asked| asked.rpc() == rpc).count()
    }
}

async fn serve(
    mut stream: TcpStream,
    log: &parking::Log,
    script: &Script,
    sessions: &AtomicUsize,
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let mut lines = head.lines();
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let headers: BTreeMap<String, String> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length: usize = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or_default();
        while buffer.len() < end + length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let rest = buffer.split_off(end + length);
        let body = String::from_utf8_lossy(&buffer[end..]).into_owned();
        buffer = rest;
        let json = serde_json::from_str(&body).unwrap_or_default();
        let asked = Asked { method: method.to_owned(), path: path.to_owned(), headers, body, json };
        log.0.lock().unwrap().push(asked.clone());
        let reply = script(&asked).unwrap_or_else(|| behave(&asked, sessions));
        for step in reply {
            match step {
                Step::Bytes(bytes) => stream.write_all(&bytes).await?,
                Step::Wait(time) => tokio::time::sleep(time).await,
                Step::Cut => return Ok(()),
            }
        }
    }
}

/// A tool as a server lists it.
pub fn tool(name: &str) -> Value {
    json!({ "name": name, "description": format!("does {name}"),
        "inputSchema": { "type": "object", "properties": { "x": { "type": "string" } } } })
}

/// The greeting of a server, with a session.
pub fn hello(asked: &Asked, session: &str) -> Reply {
    let result = json!({ "protocolVersion": asked.json["params"]["protocolVersion"], "capabilities": { "tools": {} },
        "serverInfo": { "name": "scripted", "version": "1" } });
    let body = json!({ "jsonrpc": "2.0", "id": asked.json["id"], "result": result });
    answer(200, &[("content-type", "application/json"), ("mcp-session-id", session)], &body.to_string())
}

fn behave(asked: &Asked, sessions: &AtomicUsize) -> Reply {
    if asked.method != "POST" {
        return answer(405, &[], "");
    }
    match asked.rpc() {
        "initialize" => hello(asked, &format!("session-{}", sessions.fetch_add(1, Ordering::Relaxed))),
        "tools/list" => result(asked, &json!({ "tools": [tool("a"), tool("b"), tool("c")] })),
        "tools/call" => said(asked, "done"),
        method if method.starts_with("notifications/") || asked.json["id"].is_null() || method.is_empty() => {
            answer(202, &[], "")
        }
        _ => json_answer(
            200,
            &json!({ "jsonrpc": "2.0", "id": asked.json["id"],
            "error": { "code": -32601, "message": "no such method" } }),
        ),
    }
}
