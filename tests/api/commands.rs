//! Commands against a server of a few lines that answers by path: what they print, and how they end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::process;

const BINARY: &str = env!("CARGO_BIN_EXE_cofferdam");

/// The answers by method and a part of the path, the first that fits.
type Script = Vec<(&'static str, &'static str, String)>;

/// A problem document as an answer.
fn refused(status: u16, title: &str, detail: &str) -> String {
    let problem = json!({"type": "https://cofferdam.dev/problems/x", "title": title, "status": status, "detail": detail,
        "fault": "caller", "retryable": false});
    format!("!{status} {problem}")
}

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
        Some((_, _, body)) => match body.strip_prefix('!').and_then(|refusal| refusal.split_once(' ')) {
            Some((status, problem)) => (format!("{status} Refused"), problem.to_owned()),
            None => ("200 OK".to_owned(), body.clone()),
        },
        None => ("404 Not Found".to_owned(), "{}".to_owned()),
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
fn a_wait_shows_its_own_events_and_the_words_of_its_command() {
    let was = "id: 5\nevent: state\ndata: {\"state\":\"Up\",\"detail\":\"Of last week.\"}\n\n";
    let now = "id: 6\nevent: state\ndata: {\"state\":\"Stopping\",\"detail\":\"Its pod ends.\"}\n\n";
    for (action, before, words) in [
        ("stop", "Stopping", &["the stop goes on", "cofferdam agent show a"][..]),
        ("restart", "Applying", &["the restart goes on", "cofferdam agent logs a -f"]),
    ] {
        let mut given = deployment(before);
        given["last_event"] = json!(5);
        given["source"] = json!({"kind": "version", "number": 3, "because": action});
        let script = vec![
            ("POST", "/api/deploy-agent", json!({"agent_id": "a", "deployment": given}).to_string()),
            ("GET", "/deployments/7/events?after=5 ", now.to_owned()),
            ("GET", "/deployments/7/events?after=6 ", String::new()),
            ("GET", "/deployments/7/events", format!("{was}{now}")),
            ("GET", "/deployments/7", deployment(before).to_string()),
        ];
        let args = ["agent", action, "a", "--wait", "--timeout", "2s"];
        let (ended, shown, said) = text(&command(script, &args).output().unwrap());
        assert_eq!(ended, Some(4), "{action}: {said}");
        assert!(!said.contains("last week") && said.contains("Its pod ends."), "{said}");
        assert!(shown.contains("(version 3 again)"), "{shown}");
        assert!(words.iter().all(|word| said.contains(word)) && !said.contains("deployment continues"), "{said}");
    }
    // It runs already: nothing of its past is shown.
    let up = json!({"agent_id": "a", "deployment": deployment("Up")}).to_string();
    let script = vec![("POST", "/api/deploy-agent", up), ("GET", "/events", was.to_owned())];
    let (ended, _, said) = text(&command(script, &["agent", "start", "a", "--wait"]).output().unwrap());
    assert_eq!((ended, said.as_str()), (Some(0), ""));
}

#[test]
fn a_wait_that_is_interrupted_says_that_the_action_goes_on() {
    let args = ["agent", "stop", "a", "--wait"];
    let mut command = command(waits("Stopping", "Stopping"), &args);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    process::signal(child.id(), rustix::process::Signal::INT);
    let (ended, _, said) = text(&child.wait_with_output().unwrap());
    assert_eq!(ended, Some(130), "{said}");
    assert!(said.contains("cancelled; the stop goes on: cofferdam agent show a"), "{said}");
}

#[test]
fn what_is_missing_is_named_and_not_the_agent() {
    let args = ["deploy", "r.example/default/a:1", "--agent", "a"];
    let image = refused(404, "Not found", "image: this organization has no image.");
    let there = json!({"id": "a"}).to_string();
    let script = vec![("POST", "/api/deploy-agent", image), ("GET", "/v1/agents/a", there)];
    let (code, _, said) = text(&command(script, &args).output().unwrap());
    assert!(code == Some(1) && said.contains("no image") && !said.contains("agent create"), "{said}");
    let gone = || refused(404, "Not found", "There is no agent.");
    let script = vec![("POST", "/api/deploy-agent", gone()), ("GET", "/v1/agents/a", gone())];
    let (code, _, said) = text(&command(script, &args).output().unwrap());
    let (cause, todo) = (said.find("There is no agent."), said.find("cofferdam agent create a"));
    assert!(code == Some(1) && cause.is_some() && cause < todo, "the cause comes first: {said}");
    let none = refused(409, "This cannot be done now", "No version has served yet.");
    for (up_at_ms, advised) in [(json!(1), true), (json!(null), false)] {
        let versions = json!({"deployments": [{"number": 1, "state": "Failed", "up_at_ms": up_at_ms}]}).to_string();
        let script = vec![("POST", "/api/deploy-agent", none.clone()), ("GET", "/deployments", versions)];
        let (code, _, said) = text(&command(script, &["agent", "rollback", "a"]).output().unwrap());
        assert!(code == Some(1) && said.contains("No version has served yet."), "{said}");
        assert_eq!(said.contains("cofferdam agent rollback a VERSION"), advised, "{said}");
    }
}

#[test]
fn nothing_is_asked_for_what_is_no_archive_and_for_wrong_words() {
    let folder = tempfile::tempdir().unwrap();
    let dockerfile = folder.path().join("Dockerfile");
    std::fs::write(&dockerfile, "FROM debian\nCMD x\n".repeat(100)).unwrap();
    let dockerfile = dockerfile.to_str().unwrap();
    for (args, code, part) in [
        (&["deploy", "-", "--agent", "a"][..], 1, "the command before the pipe wrote nothing"),
        (&["image", "push", "-", "127.0.0.1:1/a:1"], 1, "the command before the pipe wrote nothing"),
        (&["image", "inspect", "-"], 1, "the command before the pipe wrote nothing"),
        (&["environment", "create", "x", "--kubeconfig", "-"], 1, "the command before the pipe wrote nothing"),
        (&["deploy", dockerfile, "--agent", "a"], 1, "this is not an image archive: it is text"),
        (&["deploy", dockerfile, "--agent", "a", "--dry-run"], 1, "this is not an image archive: it is text"),
        (&["deploy", "127.0.0.1:5000", "--agent", "a"], 1, "REPOSITORY:TAG"),
        (&["image", "inspect", "127.0.0.1:5000"], 1, "REPOSITORY:TAG"),
        (&["image", "push", "x.tar", "localhost:5000"], 2, "REPOSITORY:TAG"),
        (&["agent", "create", "a b"], 2, "1 to 64 of a-z"),
        (&["deploy", "x.tar", "--agent", "A"], 2, "1 to 64 of a-z"),
        (&["agent", "rollback", "a", "before"], 2, "such as 3 or v3"),
        (&["environment", "create", "x", "--compression", "lz4"], 2, "auto, gzip, zstd, none"),
        (&["agent", "stop", "a", "--timeout", "5s"], 2, "--wait"),
        (&["deploy", "x.tar", "--agent", "a", "--timeout", "5s"], 2, "--wait"),
        (&["deploy", "x.tar", "--agent", "a", "--readiness", "8080"], 2, "http:8080/ready"),
        // A value that the command refuses itself is a wrong command line, whoever looks at it first.
        (&["deploy", "x.tar", "--agent", "a", "--replicas", "x"], 2, "a whole number, such as 2"),
        (&["deploy", "x.tar", "--agent", "a", "--replicas", "-1"], 2, "a whole number, such as 2"),
        (&["deploy", "x.tar", "--agent", "a", "--replicas", "0"], 2, "--replicas: pod.replicas"),
        (&["deploy", "x.tar", "--agent", "a", "--memory", "64MB"], 2, "--memory: resources.memory"),
        (&["deploy", "x.tar", "--agent", "a", "--min-ready", "2h"], 2, "--min-ready: health.min_ready_s"),
        (&["deploy", "x.tar", "--agent", "a", "--min-ready", "500ms"], 2, "whole seconds"),
        (&["deploy", "x.tar", "--agent", "a", "--wait", "--timeout", "5x"], 2, "not a unit of time"),
        (&["deploy", "x.tar", "--agent", "a", "--label", "team"], 2, "KEY=VALUE"),
        (&["deploy", "x.tar", "--agent", "a", "--env", "hush"], 2, "NAME=VALUE"),
        (&["deploy", "x.tar", "--agent", "a", "--version", "1"], 2, "--version"),
        (&["deploy", "--agent", "a"], 2, "<PATH|IMAGE>"),
        (&["deploy", "/no/such/a.tar", "--agent", "a"], 1, "no such file"),
        (&["environment", "create", "x", "--settings", "-", "--kubeconfig", "-"], 2, "standard input"),
        (&["environment", "create", "x", "--max-replicas", "-1"], 2, "a whole number, such as 2"),
        (&["variable", "set", "A=1", "hush"], 2, "NAME=VALUE"),
        (&["agent", "logs", "a", "--tail", "-1"], 2, "a whole number, such as 2"),
    ] {
        let (ended, _, said) = text(&command(Vec::new(), args).output().unwrap());
        assert!(ended == Some(code) && said.contains(part), "{args:?}: {ended:?} {said}");
        assert!(!said.contains("hush") && !said.contains("-- -1"), "{args:?}: {said}");
    }
}

#[test]
fn a_version_that_is_uploaded_is_deployed_by_its_number() {
    let mut found = deployment("Pushing");
    found["id"] = json!("dep_1");
    let asked = json!({"agent_id": "a", "deployment": deployment("Applying")}).to_string();
    let script = vec![("GET", "/v1/agents/a/deployments/7 ", found.to_string()), ("POST", "/api/deploy-agent", asked)];
    let (code, _, said) = text(&command(script, &["deploy", "--version", "v7", "--agent", "a"]).output().unwrap());
    assert!(code == Some(0) && said.contains("version 7 is Applying"), "{said}");
    let gone = refused(404, "Not found", "There is no version 8.");
    let script = vec![("GET", "/v1/agents/a/deployments/8 ", gone)];
    let (code, _, said) = text(&command(script, &["deploy", "--version", "8", "--agent", "a"]).output().unwrap());
    assert!(code == Some(1) && said.contains("There is no version 8."), "{said}");
}

#[test]
fn what_was_deployed_is_said_when_the_output_cannot_be_written() {
    let asked = json!({"agent_id": "a", "deployment": deployment("Applying")}).to_string();
    let script = vec![("POST", "/api/deploy-agent", asked)];
    let mut command = command(script, &["deploy", "r.example/a:1", "--agent", "a", "--json"]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (code, _, said) = text(&command.stdout(full).stderr(Stdio::piped()).output().unwrap());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("version 7 was deployed") && said.contains("cofferdam agent show a"), "{said}");
}

#[test]
fn what_is_no_server_of_ours_is_told_as_that() {
    let none = || vec![("GET", "/", "!404 404 page not found".to_owned())];
    let other = || vec![("GET", "/", "<html>".to_owned())];
    for script in [none(), other()] {
        let (code, _, said) = text(&command(script, &["agent", "list"]).output().unwrap());
        assert!(code == Some(1) && said.contains("no Cofferdam server") && said.contains("COFFERDAM_URL"), "{said}");
    }
    let mut wrong = command(Vec::new(), &["agent", "list"]);
    let (_, _, said) = text(&wrong.env("COFFERDAM_URL", "api.example.com").output().unwrap());
    assert!(said.contains("is not http://HOST:PORT") && !said.contains("relative URL"), "{said}");
}

#[test]
fn every_command_says_with_its_status_that_no_server_is_there() {
    for args in [
        &["agent", "list"][..],
        &["agent", "create", "a"],
        &["agent", "logs", "a"],
        &["agent", "delete", "a"],
        &["environment", "list"],
        &["environment", "test", "x"],
        &["variable", "set", "A=1"],
        &["secret", "list"],
        &["tool", "list"],
        &["deploy", "r.example/a:1", "--agent", "a"],
    ] {
        let mut lost = command(Vec::new(), args);
        let (ended, _, said) = text(&lost.env("COFFERDAM_URL", "http://127.0.0.1:1").output().unwrap());
        assert!(ended == Some(5) && said.contains("no server listens there"), "{args:?}: {ended:?} {said}");
    }
}

#[test]
fn what_others_wrote_drives_no_terminal_and_forges_no_line() {
    let lines = line(1, "\u{1b}[31mred\u{1b}[0m \u{1b}]0;owned\u{7}\u{202e}txt.exe\nnext");
    let output = command(vec![("GET", "/agents/a/logs", lines)], &["agent", "logs", "a"]).output().unwrap();
    let (_, shown, _) = text(&output);
    assert_eq!(shown, "\u{1b}[31mred\u{1b}[0m \\u{1b}]0;owned\\u{7}\\u{202e}txt.exe\\nnext\u{1b}[0m\n");
    let agents = json!({"agents": [{"id": "a", "state": "Up\u{2066}", "environment": "x\nlocal\u{200b}"}]}).to_string();
    let listed = |args: &[&str]| text(&command(vec![("GET", "/v1/agents", agents.clone())], args).output().unwrap()).1;
    let table = listed(&["agent", "list"]);
    assert!(
        table.lines().count() == 2 && table.contains("Up\\u{2066}") && table.contains("x\\nlocal\\u{200b}"),
        "{table}"
    );
    let exact = listed(&["agent", "list", "--json"]);
    assert!(exact.contains("Up\\u2066") && !exact.contains(['\u{2066}', '\u{200b}']), "{exact}");
    let exact: Value = serde_json::from_str(&exact).unwrap();
    assert_eq!(exact["agents"][0]["environment"], "x\nlocal\u{200b}");
    let forged = refused(403, "Policy forbids this", "No.\ncofferdam: deployed\u{202e}");
    let (_, _, said) = text(&command(vec![("GET", "/v1/agents", forged)], &["agent", "list"]).output().unwrap());
    assert_eq!(said, "cofferdam: Policy forbids this: No.\n  cofferdam: deployed\\u{202e}\n");
}

#[test]
fn what_a_deletion_by_force_leaves_is_named() {
    let left = json!({"agent_id": "a", "left_behind": {"environment": "prod", "namespace": "agents", "names": ["cofferdam-a-1-v1"]}});
    let script = vec![("DELETE", "/v1/agents/a?force=true", left.to_string())];
    let (code, _, said) = text(&command(script, &["agent", "delete", "a", "--force"]).output().unwrap());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("being deleted by force") && said.contains("if the cluster"), "{said}");
    for part in ["environment prod", "-n agents", "networkpolicy cofferdam-a-1-v1"] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
}
