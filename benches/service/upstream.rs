//! An upstream of models that answers at once: a process of its own with one thread, which writes fixed bytes and reads no
//! more of a request than it needs. It speaks OpenAI's chat completions and Anthropic's messages, whole and as a stream.
//!
//! The model's name tells what a stream does: `words-N` is N events, one write each; `held` sends an event now and then
//! until `/release` is asked; `calls` asks for one tool call, of `bench-adder`, and answers once it has the result. It never
//! checks a key.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::watch;

use crate::client::Client;
use crate::load::find;
use crate::process::enough_files;

/// Tokens of each answer, whole or streamed, as its usage says.
pub(crate) const INPUT_TOKENS: u64 = 11;
pub(crate) const OUTPUT_TOKENS: u64 = 7;
/// The time between two events of a held stream.
const HELD_INTERVAL: Duration = Duration::from_millis(500);
/// Events of a stream whose model does not say how many.
const DEFAULT_EVENTS: usize = 20;

/// The process.
pub(crate) struct Upstream {
    child: Child,
    address: SocketAddr,
}

impl Upstream {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg("--upstream").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
        Ok(Self { child, address: line.trim().parse().context("the upstream's address")? })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL that OpenAI's clients want.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Ends all streams of `held`.
    pub(crate) fn release(&self) -> anyhow::Result<()> {
        Client::new(self.address, "").call("GET", "/release", &[])?;
        Ok(())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // A failure only means that it has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Is the upstream: prints its address and serves until standard input ends, which is when the bench is gone.
pub(crate) fn serve() -> anyhow::Result<()> {
    enough_files();
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let wire = Arc::new(Wire::new());
        let release = watch::Sender::new(());
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (wire, release) = (Arc::clone(&wire), release.clone());
            // A caller that goes away is fine.
            tokio::spawn(async move { drop(connection(stream, &wire, &release).await) });
        }
    })
}

/// The bytes of a protocol's answers, heads and chunks included.
struct Protocol {
    whole: Vec<u8>,
    first: Vec<u8>,
    event: Vec<u8>,
    last: Vec<u8>,
}

struct Wire {
    chat: Protocol,
    /// Asks for a tool call.
    calls: Protocol,
    messages: Protocol,
    nothing: Vec<u8>,
}

fn whole(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

fn chunk(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n", body.len())
}

impl Wire {
    fn new() -> Self {
        const STREAM: &str =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
        let (input, output) = (INPUT_TOKENS, OUTPUT_TOKENS);
        let usage =
            format!(r#"{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{}}}"#, input + output);
        let begin = r#"{"id":"chatcmpl-BenchBenchBenchBenchBenchBench","object":"chat.completion.chunk","created":1764547200,"model":"instant","system_fingerprint":"fp_0123456789""#;
        let delta = |delta: &str, finish: &str| {
            format!(
                "data: {begin},\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}],\"usage\":null}}\n\n"
            )
        };
        let chat = Protocol {
            whole: whole(&format!(
                r#"{{"id":"chatcmpl-BenchBenchBenchBenchBenchBench","object":"chat.completion","created":1764547200,"model":"instant","choices":[{{"index":0,"message":{{"role":"assistant","content":"An answer as short as most of the others.","refusal":null,"annotations":[]}},"logprobs":null,"finish_reason":"stop"}}],"usage":{usage},"service_tier":"default","system_fingerprint":"fp_0123456789"}}"#
            )),
            first: [STREAM, &chunk(&delta(r#"{"role":"assistant","content":"word","refusal":null}"#, "null"))]
                .concat()
                .into_bytes(),
            event: chunk(&delta(r#"{"content":" word"}"#, "null")).into_bytes(),
            last: [
                chunk(&delta("{}", r#""stop""#)),
                chunk(&format!("data: {begin},\"choices\":[],\"usage\":{usage}}}\n\n")),
                chunk("data: [DONE]\n\n"),
                "0\r\n\r\n".to_owned(),
            ]
            .concat()
            .into_bytes(),
        };
        let call = r#"{"index":0,"id":"call_BenchBenchBench","type":"function","function":{"name":"bench-adder","arguments":"{\"a\":2,\"b\":3}"}}"#;
        let calls = Protocol {
            whole: whole(&format!(
                r#"{{"id":"chatcmpl-BenchBenchBenchBenchBenchBench","object":"chat.completion","created":1764547200,"model":"calls","choices":[{{"index":0,"message":{{"role":"assistant","content":null,"tool_calls":[{}],"refusal":null}},"logprobs":null,"finish_reason":"tool_calls"}}],"usage":{usage}}}"#,
                call.replace(r#""index":0,"#, "")
            )),
            first: [
                STREAM,
                &chunk(&delta(&format!(r#"{{"role":"assistant","content":null,"tool_calls":[{call}]}}"#), "null")),
            ]
            .concat()
            .into_bytes(),
            event: Vec::new(),
            last: [
                chunk(&delta("{}", r#""tool_calls""#)),
                chunk(&format!("data: {begin},\"choices\":[],\"usage\":{usage}}}\n\n")),
                chunk("data: [DONE]\n\n"),
                "0\r\n\r\n".to_owned(),
            ]
            .concat()
            .into_bytes(),
        };
        let event = |name: &str, data: &str| chunk(&format!("event: {name}\ndata: {data}\n\n"));
        let message = |content: &str, stop: &str, output: u64| {
            format!(
                r#"{{"id":"msg_BenchBenchBenchBenchBench","type":"message","role":"assistant","model":"instant","content":{content},"stop_reason":{stop},"stop_sequence":null,"usage":{{"input_tokens":{input},"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":{output}}}}}"#
            )
        };
        let start = format!(r#"{{"type":"message_start","message":{}}}"#, message("[]", "null", 1));
        let text = |text: &str| {
            event(
                "content_block_delta",
                &format!(
                    r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{text}"}}}}"#
                ),
            )
        };
        let messages = Protocol {
            whole: whole(&message(
                r#"[{"type":"text","text":"An answer as short as most of the others."}]"#,
                r#""end_turn""#,
                output,
            )),
            first: [
                STREAM.to_owned(),
                event("message_start", &start),
                event(
                    "content_block_start",
                    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
                ),
                text("word"),
            ]
            .concat()
            .into_bytes(),
            event: text(" word").into_bytes(),
            last: [
                event("content_block_stop", r#"{"type":"content_block_stop","index":0}"#),
                event(
                    "message_delta",
                    &format!(
                        r#"{{"type":"message_delta","delta":{{"stop_reason":"end_turn","stop_sequence":null}},"usage":{{"output_tokens":{output}}}}}"#
                    ),
                ),
                event("message_stop", r#"{"type":"message_stop"}"#),
                "0\r\n\r\n".to_owned(),
            ]
            .concat()
            .into_bytes(),
        };
        let nothing =
            whole(r#"{"object":"list","data":[{"id":"instant","object":"model","created":1,"owned_by":"bench"}]}"#);
        Self { chat, calls, messages, nothing }
    }
}

/// The length of the body, from a head.
fn body_bytes(head: &[u8]) -> usize {
    let mut lines = head.split(|byte| *byte == b'\n');
    let found = lines.find_map(|line| {
        let (name, value) = line.split_at_checked(15)?;
        name.eq_ignore_ascii_case(b"content-length:").then_some(value)
    });
    found.and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok()).unwrap_or(0)
}

/// The number of events that a body's model asks for; `None`: held.
fn events(body: &[u8]) -> Option<usize> {
    if find(body, b"\"held\"").is_some() {
        return None;
    }
    let number = find(body, b"words-").and_then(|at| body.get(at + 6..)).map(|rest| {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0_usize, |number, digit| number.wrapping_mul(10).wrapping_add(usize::from(digit - b'0')))
    });
    Some(number.unwrap_or(DEFAULT_EVENTS))
}

async fn connection(mut stream: TcpStream, wire: &Wire, release: &watch::Sender<()>) -> std::io::Result<()> {
    let mut seen = Vec::with_capacity(4 << 10);
    loop {
        let end = loop {
            match find(&seen, b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if stream.read_buf(&mut seen).await? == 0 => return Ok(()),
                None => {}
            }
        };
        let head = seen.get(..end).unwrap_or_default();
        let length = end + body_bytes(head);
        while seen.len() < length {
            if stream.read_buf(&mut seen).await? == 0 {
                return Ok(());
            }
        }
        let (head, body) = seen.split_at(end);
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let protocol = if find(line, b"/chat/completions").is_some() {
            let asks = find(body, b"\"calls\"").is_some() && find(body, b"\"role\":\"tool\"").is_none();
            Some(if asks { &wire.calls } else { &wire.chat })
        } else if find(line, b"/messages").is_some() {
            Some(&wire.messages)
        } else {
            if find(line, b"/release").is_some() {
                release.send_replace(());
            }
            None
        };
        let streams = find(body, b"\"stream\":true").or_else(|| find(body, b"\"stream\": true")).is_some();
        match protocol {
            None => stream.write_all(&wire.nothing).await?,
            Some(protocol) if !streams => stream.write_all(&protocol.whole).await?,
            Some(protocol) => {
                let events = events(body);
                let mut released = release.subscribe();
                stream.write_all(&protocol.first).await?;
                match events {
                    Some(events) => {
                        let events = if protocol.event.is_empty() { 0 } else { events };
                        for _ in 1..events {
                            stream.write_all(&protocol.event).await?;
                        }
                    }
                    None => {
                        while tokio::time::timeout(HELD_INTERVAL, released.changed()).await.is_err() {
                            stream.write_all(&protocol.event).await?;
                        }
                    }
                }
                stream.write_all(&protocol.last).await?;
            }
        }
        seen.drain(..length);
    }
}
