//! Answers that nobody reads: they cost little memory, they are counted, they keep nobody else out, and they are given up.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Server, Setup, process};
use crate::{alone, eventually};

/// Longer than an unread answer is kept (10 s).
const GIVEN_UP: Duration = Duration::from_secs(25);

/// Sends requests and reads nothing.
fn unread(server: &Server, request: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(server.address).ok()?;
    stream.set_write_timeout(Some(Duration::from_secs(1))).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    Some(stream)
}

fn with_key(server: &Server, request: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{request} HTTP/1.1\r\nhost: a\r\nx-api-key: {}\r\ncontent-type: application/json\r\n\
         accept: text/event-stream\r\ncontent-length: {length}\r\n\r\n{body}",
        server.key
    )
}

fn answers_bytes(server: &Server) -> f64 {
    server.metric("cofferdam_worker_answers_bytes").unwrap_or_default()
}

#[test]
fn clients_without_a_key_that_read_nothing_keep_nobody_out() {
    const FILES: usize = 256;
    let _one = alone();
    let folder = tempfile::tempdir().unwrap();
    let few = folder.path().join("with-few-descriptors");
    let program = std::env::var("COFFERDAM_TEST_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_cofferdam").into());
    std::fs::write(&few, format!("#!/bin/sh\nulimit -n {FILES}\nexec '{program}' \"$@\"\n")).unwrap();
    std::fs::set_permissions(&few, std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = Server::with(Setup { program: Some(few), ..Setup::default() });
    let before = process::open_handles(server.pid()).len();
    let pipelined = "GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(100);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.extend((0..FILES).filter_map(|_| unread(&server, &pipelined)));
        let started = Instant::now();
        let answer = server.post("/v1/runs", &json!({"language": "javascript", "code": "1 + 1"}));
        assert_eq!(answer.status, 200);
        assert!(started.elapsed() < Duration::from_secs(3), "a run took {:?}", started.elapsed());
    }
    assert!(held.len() > FILES, "{} connections", held.len());
    // Still held by their clients, given up by the server.
    eventually("the descriptors come back", GIVEN_UP, || process::open_handles(server.pid()).len() <= before + 10);
    drop(held);
}

#[test]
fn files_that_nobody_reads_are_not_kept_in_memory() {
    const UNREAD: usize = 8;
    const FEW_KIB: u64 = 64 << 10;
    let _one = alone();
    let server = Server::start();
    let limits = json!({"disk_bytes": 300 << 20});
    let made = server.post("/v1/sessions", &json!({"language": "python", "limits": limits})).expect(201);
    let session = made["id"].as_str().unwrap();
    let code = "open('hole', 'wb').truncate(256 << 20)";
    assert_eq!(server.post("/v1/runs", &json!({"session": session, "code": code})).expect(200)["status"], "ok");
    let worker = server.worker_pid().unwrap();
    let (worker_kib, server_kib) = (process::private_kib(worker), process::private_kib(server.pid()));
    let request = with_key(&server, &format!("GET /v1/sessions/{session}/files/hole"), "");
    let held: Vec<_> = (0..UNREAD).filter_map(|_| unread(&server, &request)).collect();
    assert_eq!(held.len(), UNREAD);
    let mut most = 0.0_f64;
    for _ in 0..20 {
        most = most.max(answers_bytes(&server));
        thread::sleep(Duration::from_millis(50));
    }
    assert!((1.0..32e6).contains(&most), "{most} bytes are counted");
    for (pid, before) in [(worker, worker_kib), (server.pid(), server_kib)] {
        let now = process::private_kib(pid);
        assert!(now < before + FEW_KIB, "{before} KiB became {now}");
    }
    eventually("the answers are given up", GIVEN_UP, || answers_bytes(&server) < 1.0);
    drop(held);
}

#[test]
fn events_of_ended_runs_that_nobody_reads_are_counted_and_limited() {
    const TEXT: usize = 48 << 20;
    /// An organization with so many unread bytes gets no further runs.
    const MAX_UNREAD: f64 = (256 << 20) as f64;
    let _one = alone();
    let server = Server::start();
    let code = format!("import sys\nfor _ in range(48): sys.stdout.write('x' * {})", TEXT / 48);
    let body = json!({"language": "python", "code": code, "limits": {"output_bytes": TEXT + 1_000}}).to_string();
    let request = with_key(&server, "POST /v1/runs", &body);
    let mut held = Vec::new();
    let refused = |server: &Server| {
        let answer = server.post("/v1/runs", &json!({"language": "javascript", "code": "1"}));
        if answer.status != 200 {
            answer.problem(429, "overloaded");
        }
        answer.status != 200
    };
    let started = Instant::now();
    while !refused(&server) {
        assert!(held.len() < 12 && started.elapsed() < GIVEN_UP, "{} unread, {}", held.len(), answers_bytes(&server));
        held.push(unread(&server, &request).unwrap());
        let wanted = (held.len() * TEXT) as f64 * 0.7;
        let patience = Instant::now() + Duration::from_secs(2);
        while answers_bytes(&server) < wanted && Instant::now() < patience {
            thread::sleep(Duration::from_millis(20));
        }
    }
    assert!(answers_bytes(&server) >= MAX_UNREAD, "{}", answers_bytes(&server));
    drop(held);
    eventually("the answers are given up", GIVEN_UP, || answers_bytes(&server) < 1.0);
    assert!(!refused(&server));
}
