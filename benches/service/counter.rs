//! An MCP server that adds two numbers and counts how often each call was made, by the key that the caller sends with it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use anyhow::Context;
use serde_json::{Value, json};

type Calls = Arc<Mutex<HashMap<String, u64>>>;

pub(crate) struct Counter {
    address: SocketAddr,
    calls: Calls,
}

impl Counter {
    /// It serves until the bench ends.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, calls) = (listener.local_addr()?, Calls::default());
        let counted = Arc::clone(&calls);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counted = Arc::clone(&counted);
                // A caller that goes away is fine.
                std::thread::spawn(move || drop(serve(&stream, &counted)));
            }
        });
        Ok(Self { address, calls })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Calls that were made more than once.
    pub(crate) fn twice(&self) -> anyhow::Result<usize> {
        let calls = self.calls.lock().map_err(|_| anyhow::anyhow!("the counter broke off"))?;
        anyhow::ensure!(!calls.is_empty(), "the counter was not called");
        Ok(calls.values().filter(|count| **count > 1).count())
    }
}

fn serve(stream: &TcpStream, calls: &Calls) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let (mut input, mut output) = (BufReader::new(stream), stream);
    loop {
        let (mut length, mut line, mut method) = (0_usize, String::new(), String::new());
        loop {
            line.clear();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if method.is_empty() {
                line.split(' ').next().unwrap_or_default().clone_into(&mut method);
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        input.read_exact(&mut body)?;
        if method != "POST" {
            output.write_all(b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n")?;
            continue;
        }
        let message: Value = serde_json::from_slice(&body)?;
        let Some(id) = message.get("id") else {
            output.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")?;
            continue;
        };
        let result = answer(&message, calls).with_context(|| message.to_string())?;
        let text = json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string();
        write!(
            output,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        )?;
    }
}

fn answer(message: &Value, calls: &Calls) -> anyhow::Result<Value> {
    let params = message.get("params").cloned().unwrap_or_default();
    Ok(match message.get("method").and_then(Value::as_str).unwrap_or_default() {
        "initialize" => json!({
            "protocolVersion": params.get("protocolVersion").cloned().unwrap_or_else(|| json!("2025-06-18")),
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "counter", "version": "1" },
        }),
        "tools/list" => json!({ "tools": [{
            "name": "add",
            "description": "Adds.",
            "inputSchema": {
                "type": "object",
                "properties": { "a": { "type": "integer" }, "b": { "type": "integer" } },
                "required": ["a", "b"],
            },
        }] }),
        "tools/call" => {
            // Whatever names the call: all of `_meta` but a progress token, which differs with each request.
            let mut meta = params.get("_meta").cloned().unwrap_or_default();
            if let Some(meta) = meta.as_object_mut() {
                meta.remove("progressToken");
            }
            anyhow::ensure!(meta.as_object().is_some_and(|meta| !meta.is_empty()), "a call without a key");
            *calls
                .lock()
                .map_err(|_| anyhow::anyhow!("the counter broke off"))?
                .entry(meta.to_string())
                .or_default() += 1;
            json!({ "content": [{ "type": "text", "text": "5" }] })
        }
        _ => json!({}),
    })
}
