//! Overload, and clients that disconnect.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Call, Server, Setup};
use crate::{alone, eventually};

#[test]
fn overload_is_answered_and_never_queued_without_bounds() {
    let _one = alone();
    let server = Server::with(Setup::default().config("[worker]\nmax_runs = 2\nmax_waiting = 3\n"));
    let (mut served, mut refused) = (0, 0);
    thread::scope(|scope| {
        let call = || {
            let started = Instant::now();
            let answer = server.run(json!({"language": "python", "code": "import time; time.sleep(1); print(1)"}));
            (answer, started.elapsed())
        };
        let clients: Vec<_> = (0..16).map(|_| scope.spawn(call)).collect();
        for client in clients {
            let (answer, took) = client.join().unwrap();
            if answer.status == 200 {
                served += 1;
                continue;
            }
            answer.problem(429, "overloaded");
            assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
            assert!(took < Duration::from_millis(900), "a refusal took {took:?}");
            refused += 1;
        }
    });
    assert!((5..=6).contains(&served) && refused >= 10, "{served} served, {refused} refused");
    assert_eq!(server.python("print('well')"), "well\n");
    assert!(server.metric("cofferdam_worker_runs_refused_total").unwrap() >= 10.0);
}

#[test]
fn a_client_that_goes_away_cancels_its_run() {
    let _one = alone();
    let server = Server::start();
    let active = || server.metric("cofferdam_worker_runs_active").unwrap();
    for (events, code) in [
        (true, "print('begun', flush=True)\nwhile True: pass"),
        (true, "print('begun', flush=True)\nimport time; time.sleep(600)"),
    ] {
        let body = json!({"language": "python", "code": code, "limits": {"wall_ms": 600_000, "cpu_ms": 600_000}});
        let mut call = Call::new("POST", "/v1/runs").json(&body).header("x-api-key", &server.key);
        if events {
            call = call.header("accept", "text/event-stream");
        }
        let mut stream = call.open(server.address).unwrap();
        stream.chunk().unwrap();
        assert_eq!(active(), 1.0);
        stream.hang_up();
        eventually("the run is cancelled", Duration::from_secs(2), || active() == 0.0);
    }
    let text = server.get("/metrics").text();
    assert!(text.contains("status=\"cancelled\"} 2"), "{text}");
}

#[test]
fn a_client_that_goes_away_without_a_stream_cancels_too() {
    let _one = alone();
    let server = Server::start();
    let active = || server.metric("cofferdam_worker_runs_active").unwrap();
    let body =
        json!({"language": "python", "code": "while True: pass", "limits": {"wall_ms": 600_000, "cpu_ms": 600_000}});
    let body = body.to_string();
    let request = format!(
        "POST /v1/runs HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        server.key,
        body.len()
    );
    let mut connection = std::net::TcpStream::connect(server.address).unwrap();
    std::io::Write::write_all(&mut connection, request.as_bytes()).unwrap();
    eventually("the run begins", Duration::from_secs(5), || active() == 1.0);
    drop(connection);
    eventually("the run is cancelled", Duration::from_secs(2), || active() == 0.0);
}

#[test]
fn a_cancelled_run_of_a_session_leaves_a_clear_state() {
    let _one = alone();
    let server = Server::start();
    let id = server.session(json!({"language": "python"}));
    let body = json!({"session": id, "code": "print('begun', flush=True)\nwhile True: pass"});
    let call = Call::new("POST", "/v1/runs").json(&body).header("x-api-key", &server.key);
    let mut stream = call.header("accept", "text/event-stream").open(server.address).unwrap();
    stream.chunk().unwrap();
    stream.hang_up();
    let answer = server.run(json!({"session": id, "code": "print('alive')"}));
    if answer.status != 200 {
        answer.problem(410, "session-lost");
    }
}
