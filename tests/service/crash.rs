//! A worker that is killed, or hangs, costs the runs inside it a clear error and nothing else.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Answer, Call, Server, process};
use crate::{alone, eventually};

fn run(server: &Server, code: &str) -> Result<Answer, String> {
    let call = Call::new("POST", "/v1/runs").header("x-api-key", &server.key);
    call.json(&json!({"language": "python", "code": code})).send_to(server.address)
}

/// An outcome, or a problem that says "again".
fn check(answer: &Result<Answer, String>) -> Result<bool, String> {
    let answer = answer.as_ref().map_err(|e| format!("no answer: {e}"))?;
    match answer.status {
        200 => Ok(true),
        503 => {
            let problem = answer.json();
            let kind = problem["type"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
            answer.check_problem(kind)?;
            let known = ["worker-lost", "unavailable"].contains(&kind) && problem["retryable"] == true;
            if known { Ok(false) } else { Err(format!("an odd problem: {problem}")) }
        }
        other => Err(format!("HTTP {other}: {}", answer.text())),
    }
}

#[test]
fn a_killed_worker_is_back_within_a_second() {
    let _one = alone();
    let server = Server::start();
    for _ in 0..3 {
        let worker = server.worker_pid().unwrap();
        process::signal(worker, Signal::KILL);
        let took = eventually(
            "a run after the kill",
            Duration::from_secs(10),
            || matches!(run(&server, "print(1)"), Ok(answer) if answer.status == 200),
        );
        assert!(took < Duration::from_secs(1), "back after {took:?}");
        assert_ne!(server.worker_pid(), Some(worker));
    }
    assert_eq!(server.metric("cofferdam_api_worker_restarts_total"), Some(3.0));
}

#[test]
fn every_client_gets_an_answer_when_the_worker_is_killed_under_load() {
    let _one = alone();
    let server = Server::start();
    let stop = AtomicBool::new(false);
    let answers = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for client in 0..8 {
            let (server, stop, answers) = (&server, &stop, &answers);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let code = if client % 2 == 0 { "print(1)" } else { "import time; time.sleep(0.2); print(1)" };
                    let answer = run(server, code);
                    if matches!(&answer, Ok(answer) if answer.status == 503) {
                        thread::sleep(Duration::from_millis(20));
                    }
                    answers.lock().unwrap().push(check(&answer));
                }
            });
        }
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(900));
            process::signal(server.worker_pid().expect("a worker"), Signal::KILL);
        }
        thread::sleep(Duration::from_millis(1_500));
        stop.store(true, Ordering::Relaxed);
    });
    let answers = answers.into_inner().unwrap();
    let wrong: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert!(wrong.is_empty(), "{} of {} wrong, the first: {}", wrong.len(), answers.len(), wrong[0]);
    let good = answers.iter().filter(|answer| **answer == Ok(true)).count();
    assert!(good > answers.len() / 4 && good < answers.len(), "{good} good of {}", answers.len());
    assert_eq!(server.python("print('well')"), "well\n");
}

#[test]
fn a_stream_says_that_the_worker_was_lost() {
    let _one = alone();
    let server = Server::start();
    let body = json!({"language": "python", "code": "import time; print('begun', flush=True); time.sleep(20)"});
    let call = Call::new("POST", "/v1/runs").json(&body).header("x-api-key", &server.key);
    let mut stream = call.header("accept", "text/event-stream").open(server.address).unwrap();
    assert!(String::from_utf8(stream.chunk().unwrap().unwrap()).unwrap().contains("begun"));
    process::signal(server.worker_pid().unwrap(), Signal::KILL);
    let events = stream.finish().unwrap().events();
    let (name, last) = events.last().expect("a last event");
    assert!(name == "error" || name == "problem", "{events:?}");
    assert!(last.to_string().to_lowercase().contains("worker"), "{last}");
}

#[test]
fn live_sessions_of_a_killed_worker_are_lost_with_a_word_and_suspended_ones_are_not() {
    let _one = alone();
    let server = Server::start();
    let (live, asleep) = (server.session(json!({"language": "python"})), server.session(json!({"language": "python"})));
    server.in_session(&live, "x = 1");
    server.in_session(&asleep, "x = 42");
    server.post(&format!("/v1/sessions/{asleep}/suspend"), &json!({})).expect(200);
    process::signal(server.worker_pid().unwrap(), Signal::KILL);
    eventually("a run after the kill", Duration::from_secs(10), || run(&server, "1").is_ok_and(|a| a.status == 200));
    server.run(json!({"session": live, "code": "print(x)"})).problem(410, "session-lost");
    let file = format!("/v1/sessions/{live}/files/a.txt");
    server.get(&file).problem(410, "session-lost");
    server.get(file.trim_end_matches("/a.txt")).problem(410, "session-lost");
    server.send(Call::new("PUT", file).body("a", "application/octet-stream")).problem(410, "session-lost");
    server.get(&format!("/v1/sessions/{asleep}/files/none.txt")).problem(404, "not-found");
    assert_eq!(server.in_session(&asleep, "print(x)"), "42\n");
    assert_eq!(server.send(Call::new("DELETE", format!("/v1/sessions/{live}"))).status, 204);
}

#[test]
fn a_worker_that_hangs_is_replaced() {
    let _one = alone();
    let server = Server::start();
    let worker = server.worker_pid().unwrap();
    process::signal(worker, Signal::STOP);
    let started = Instant::now();
    let caught = run(&server, "print(1)");
    // Where its connection was new, the hung worker has not taken it, and the next one does.
    assert!(check(&caught).is_ok(), "{caught:?}");
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    eventually("a run after the hang", Duration::from_secs(10), || run(&server, "1").is_ok_and(|a| a.status == 200));
    assert_ne!(server.worker_pid(), Some(worker));
}

#[test]
fn the_worker_does_not_outlive_the_server() {
    let _one = alone();
    let mut server = Server::start();
    let worker = server.worker_pid().unwrap();
    server.signal(Signal::KILL);
    server.wait();
    eventually("the worker's end", Duration::from_secs(3), || process::command_line(worker).is_empty());
}
