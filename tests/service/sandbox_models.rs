//! A snippet in a real worker calls models, in the protocols of both providers, through the AI gateway, to an upstream that
//! speaks one of them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::alone;
use crate::support::{Server, Setup};

const KEY: &str = "sk-canary-0123456789";

/// Python that asks in three protocols, and one time for more than it was granted.
const GUEST: &str = r#"
import json, os, urllib.error, urllib.request

def ask(base, path, body, headers={}):
    request = urllib.request.Request(os.environ[base] + path, json.dumps(body).encode(), headers)
    try:
        return urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        return error

turn = [{"role": "user", "content": "hi"}]
anthropic = {"anthropic-version": "2023-06-01", "x-api-key": os.environ["ANTHROPIC_API_KEY"]}
chat = json.load(ask("OPENAI_BASE_URL", "/chat/completions", {"model": "small", "messages": turn}))
print("chat", chat["choices"][0]["message"]["content"])
response = json.load(ask("OPENAI_BASE_URL", "/responses", {"model": "small", "input": "hi"}))
print("responses", response["output"][0]["content"][0]["text"])
message = json.load(ask("ANTHROPIC_BASE_URL", "/v1/messages", {"model": "small", "max_tokens": 5, "messages": turn}, anthropic))
print("messages", message["content"][0]["text"])
stream = ask("ANTHROPIC_BASE_URL", "/v1/messages", {"model": "small", "max_tokens": 5, "messages": turn, "stream": True}, anthropic)
print("stream", [line.decode().split()[1] for line in stream if line.startswith(b"event:")][-1])
refused = ask("OPENAI_BASE_URL", "/chat/completions", {"model": "large", "messages": turn})
print("refused", refused.status, json.load(refused)["error"]["code"])
print("models", [model["id"] for model in json.load(urllib.request.urlopen(os.environ["OPENAI_BASE_URL"] + "/models"))["data"]])
print("key", any("canary" in value for value in os.environ.values()))
"#;

/// Paths and bodies of requests.
type Seen = Mutex<Vec<(String, Value)>>;

/// A server of OpenAI's chat completions that answers `Hello.`, and keeps the requests that it got.
fn upstream() -> (String, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || while answer(stream.as_ref().unwrap(), &kept).is_some() {});
        }
    });
    (base, seen)
}

/// Answers one request of a connection; `None` at its end.
fn answer(mut stream: &TcpStream, kept: &Seen) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let from = head.len();
        reader.read_line(&mut head).ok().filter(|read| *read > 0)?;
        let line = head[from..].to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let streaming = asked["stream"] == true;
    kept.lock().unwrap().push((head, asked));
    let about = json!({"id": "c1", "created": 1, "model": "small"});
    let with = |fields: Value| {
        let mut whole = about.clone();
        whole.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        whole
    };
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3});
    let (kind, text) = if streaming {
        let chunk = |delta: Value, finish: Value| {
            let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
            with(json!({"object": "chat.completion.chunk", "choices": [choice]}))
        };
        let last = with(json!({"object": "chat.completion.chunk", "choices": [], "usage": usage}));
        let chunks = [
            chunk(json!({"role": "assistant", "content": "Hello."}), Value::Null),
            chunk(json!({}), json!("stop")),
            last,
        ];
        let events: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
        ("text/event-stream", format!("{events}data: [DONE]\n\n"))
    } else {
        let message = json!({"role": "assistant", "content": "Hello."});
        let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
        let whole = with(json!({"object": "chat.completion", "choices": [choice], "usage": usage}));
        ("application/json", whole.to_string())
    };
    let length = text.len();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{text}").ok()
}

#[test]
fn a_snippet_calls_models_in_three_protocols() {
    let _one = alone();
    let (base, seen) = upstream();
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    std::fs::write(&policy, "version: \"1.0\"\nllm:\n  allow: [small, large]\n").unwrap();
    let setup = Setup::default().env("OPENAI_BASE_URL", base).env("OPENAI_API_KEY", KEY);
    let server = Server::with(setup.env("COFFERDAM_POLICY", policy.display()));
    let grants = json!({"llm": {"models": ["small"], "max_tokens": 100, "max_requests": 6}});
    let outcome = server.run(json!({"language": "python", "code": GUEST, "grants": grants})).expect(200);
    let expected = "chat Hello.\nresponses Hello.\nmessages Hello.\nstream message_stop\n\
                    refused 403 insufficient_permissions\nmodels ['small']\nkey False\n";
    assert_eq!(outcome["stdout"], expected, "{outcome}");
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 4);
    for (head, asked) in seen.iter() {
        let head = head.to_lowercase();
        assert!(head.starts_with("post /v1/chat/completions ") && head.contains(&format!("bearer {KEY}")), "{head}");
        assert!(!head.contains("anthropic") && !head.contains("python"), "{head}");
        assert_eq!(asked["model"], "small");
    }
}
