//! `POST /v1/runs` with `Accept: text/event-stream`.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::http::parse_events;
use crate::support::{Call, Server};

fn call(server: &Server, body: &serde_json::Value) -> Call {
    Call::new("POST", "/v1/runs").json(body).header("x-api-key", &server.key).header("accept", "text/event-stream")
}

#[test]
fn events_come_in_the_order_in_which_things_happened() {
    let server = Server::shared();
    let code = "import sys\nprint('one')\nprint('two', file=sys.stderr)\ndisplay({'n': 3})\nprint('four')\n5";
    let answer = server.send(call(&server, &json!({"language": "python", "code": code})));
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let events = answer.events();
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["stdout", "stderr", "result", "stdout", "result", "end"], "{events:#?}");
    assert_eq!((&events[0].1, &events[1].1), (&json!({"text": "one\n"}), &json!({"text": "two\n"})));
    assert_eq!((&events[2].1["main"], &events[4].1["main"]), (&json!(false), &json!(true)));
    assert_eq!(events[4].1["data"]["text/plain"], "5");
    let end = &events[5].1;
    assert_eq!((&end["status"], &end["exit_code"], &end["stdout"]), (&json!("ok"), &json!(0), &json!("")));
}

#[test]
fn events_come_while_the_run_runs() {
    let server = Server::shared();
    let code = "import time\nprint('early', flush=True)\ntime.sleep(1.5)\nprint('late')";
    let mut stream = call(&server, &json!({"language": "python", "code": code})).open(server.address).unwrap();
    let started = Instant::now();
    let first = String::from_utf8(stream.chunk().unwrap().unwrap()).unwrap();
    assert_eq!(parse_events(&first), [("stdout".to_owned(), json!({"text": "early\n"}))]);
    assert!(started.elapsed() < Duration::from_millis(1_000), "{:?}", started.elapsed());
    let rest = stream.finish().unwrap();
    assert_eq!(rest.events()[0].1, json!({"text": "late\n"}));
}

#[test]
fn an_error_is_an_event_before_the_end() {
    let server = Server::shared();
    let events = server.send(call(&server, &json!({"language": "python", "code": "print(1)\n1 / 0"}))).events();
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["stdout", "error", "end"]);
    assert_eq!((&events[1].1["name"], &events[2].1["status"]), (&json!("ZeroDivisionError"), &json!("error")));
}

#[test]
fn a_refusal_is_a_problem_document_and_no_stream() {
    let server = Server::shared();
    server.send(call(&server, &json!({"language": "cobol", "code": "1"}))).problem(422, "invalid-request");
    server.send(call(&server, &json!({"session": "ses_none", "code": "1"}))).problem(404, "not-found");
}

#[test]
fn a_limit_is_told_in_the_stream() {
    let server = Server::shared();
    let body = json!({"language": "javascript", "code": "console.log('a'); for (;;) {}", "limits": {"wall_ms": 300}});
    let events = server.send(call(&server, &body)).events();
    let (name, end) = events.last().unwrap();
    assert_eq!((name.as_str(), &end["status"], &end["error"]["name"]), ("end", &json!("timeout"), &json!("wall_ms")));
    assert_eq!(events[0].1["text"], "a\n");
}
