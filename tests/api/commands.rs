//! Commands against a server of a few lines that answers by path: what they print, and how they end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_cofferdam");

/// The answers by method and a part of the path, the first that fits.
type Script = Vec<(&'static str, &'static str, String)>;

fn answer(mut stream: TcpStream, script: &Script) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) <= 2 {
            break;
        }
        if let Some(number) = line.to_lowercase().strip_prefix("content-length:") {
            length = number.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    let found = script.iter().find(|(method, part, _)| first.starts_with(method) && first.contains(part));
    let (status, body) = match found {
        Some((_, _, body)) => ("200 OK", body.clone()),
        None => ("404 Not Found", "{}".to_owned()),
    };
    // A client that reads no more is what some tests want.
    let _ = write!(stream, "HTTP/1.1 {status}\r\nconnection: close\r\n\r\n{body}");
}

/// Starts the command with that server.
fn command(script: Script, args: &[&str]) -> Command {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let script = Arc::new(script);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let script = Arc::clone(&script);
            std::thread::spawn(move || answer(stream.unwrap(), &script));
        }
    });
    let mut command = Command::new(BINARY);
    command.args(args).env("COFFERDAM_URL", url).env("COFFERDAM_API_KEY", "x").stdin(Stdio::null());
    command
}

fn text(output: &Output) -> (Option<i32>, String, String) {
    let read = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), read(&output.stdout), read(&output.stderr))
}

fn line(seq: u64, text: &str) -> String {
    let line = json!({"seq": seq, "time": "2026-11-30T00:00:00Z", "pod": "p", "version": 1, "line": text});
    format!("id: {seq}\nevent: log\ndata: {line}\n\n")
}

#[test]
fn a_log_whose_reader_goes_away_ends_quietly() {
    let lines: String = (1..20_000).map(|seq| line(seq, &"x".repeat(100))).collect();
    for follow in [&[][..], &["-f"]] {
        let args: Vec<&str> = ["agent", "logs", "a"].iter().chain(follow).copied().collect();
        let mut command = command(vec![("GET", "/agents/a/logs", lines.clone())], &args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut head = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        head.read_line(&mut first).unwrap();
        assert!(first.starts_with("xxx"), "{first}");
        drop(head);
        let (code, _, errors) = text(&child.wait_with_output().unwrap());
        assert_eq!((code, errors.as_str()), (Some(141), ""), "{args:?}");
    }
}

#[test]
fn a_followed_log_ends_with_a_sentence_when_its_agent_is_deleted() {
    let ended = line(1, "last words") + "event: end\ndata: {\"reason\":\"deleted\",\"detail\":\"x\"}\n\n";
    let output = command(vec![("GET", "/agents/a/logs", ended)], &["agent", "logs", "a", "-f"]).output().unwrap();
    let (code, lines, said) = text(&output);
    assert_eq!((code, lines.as_str()), (Some(0), "last words\n"), "{said}");
    assert!(said.contains("a: the agent was deleted"), "{said}");
}

fn deployment(state: &str) -> Value {
    json!({"agent": "a", "number": 7, "state": state, "detail": "Why it is so.", "exit_code": 3, "last_lines": ["boom"]})
}

/// A server whose deployment is in `before` when it is asked for and in `after` from then on.
fn waits(before: &str, after: &str) -> Script {
    let events = format!(
        "id: 1\nevent: state\ndata: {}\n\nid: 2\nevent: state\ndata: {}\n\n",
        json!({"state": before, "detail": "Begins."}),
        json!({"state": after, "detail": "Why it is so."})
    );
    vec![
        ("POST", "/api/deploy-agent", json!({"agent_id": "a", "deployment": deployment(before)}).to_string()),
        ("GET", "/deployments/7/events", events),
        ("GET", "/deployments/7", deployment(after).to_string()),
    ]
}

#[test]
fn what_is_started_is_waited_for_with_the_statuses_of_deploy() {
    for (action, before, after, code, says) in [
        ("rollback", "Applying", "Up", 0, "Up"),
        ("restart", "Applying", "Failed", 3, "boom"),
        ("start", "Starting", "Starting", 4, "--timeout"),
        ("stop", "Stopping", "Stopped", 0, "Stopped"),
        ("stop", "Stopping", "Stopping", 4, "--timeout"),
    ] {
        let args = ["agent", action, "a", "--wait", "--timeout", "2s"];
        let (ended, shown, said) = text(&command(waits(before, after), &args).output().unwrap());
        assert_eq!(ended, Some(code), "{action}: {shown}{said}");
        assert!(said.contains(says) && shown.contains(&format!("version 7 is {before}")), "{action}: {shown}{said}");
        let args = ["agent", action, "a"];
        let (ended, ..) = text(&command(waits(before, after), &args).output().unwrap());
        assert_eq!(ended, Some(0), "{action} without --wait");
    }
    let args = ["agent", "rollback", "a", "--wait", "--json"];
    let (_, shown, said) = text(&command(waits("Applying", "Up"), &args).output().unwrap());
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["deployment"]["state"], "Up", "{said}");
    let mut lost = command(Vec::new(), &["agent", "start", "a"]);
    let (ended, ..) = text(&lost.env("COFFERDAM_URL", "http://127.0.0.1:1").output().unwrap());
    assert_eq!(ended, Some(5), "the server is not there");
}

#[test]
fn what_a_deletion_by_force_leaves_is_named() {
    let left = json!({"agent_id": "a", "left_behind": {"environment": "prod", "namespace": "agents", "names": ["cofferdam-a-1-v1"]}});
    let script = vec![("DELETE", "/v1/agents/a?force=true", left.to_string())];
    let (code, _, said) = text(&command(script, &["agent", "delete", "a", "--force"]).output().unwrap());
    assert_eq!(code, Some(0), "{said}");
    for part in ["environment prod", "-n agents", "networkpolicy cofferdam-a-1-v1"] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
}
