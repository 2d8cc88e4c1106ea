//! SIGTERM: requests under way finish, sessions are kept, nothing is left behind.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::alone;
use crate::support::{Server, Setup, process};

#[test]
fn runs_under_way_end_and_live_sessions_survive() {
    let _one = alone();
    let mut server = Server::start();
    let python = server.session(json!({"language": "python"}));
    let javascript = server.session(json!({"language": "javascript"}));
    server.in_session(&python, "x = 42; open('kept.txt', 'w').write('kept')");
    server.in_session(&javascript, "let y = 43");
    let folder = Arc::clone(&server.folder);
    thread::scope(|scope| {
        let server = &server;
        let run = scope.spawn(|| server.python("import time; time.sleep(1.5); print('ended by itself')"));
        thread::sleep(Duration::from_millis(500));
        server.signal(Signal::TERM);
        assert_eq!(run.join().unwrap(), "ended by itself\n");
    });
    let worker_gone = server.worker_pid();
    let status = server.wait();
    assert!(status.success(), "{status}, worker {worker_gone:?}\n{}", server.log());
    assert_eq!(process::entries(&folder.path().join("tmp")), 0, "left in the temporary folder");
    drop(server);

    let started = Instant::now();
    let server = Server::in_folder(folder, Setup::default());
    assert!(started.elapsed() < Duration::from_secs(3), "the second start took {:?}", started.elapsed());
    let shown = server.get(&format!("/v1/sessions/{python}")).expect(200);
    assert_eq!(shown["state"], "suspended");
    assert_eq!(server.in_session(&python, "print(x, open('kept.txt').read())"), "42 kept\n");
    assert_eq!(server.in_session(&javascript, "console.log(y)"), "43\n");
}

#[test]
fn new_requests_are_refused_while_it_drains() {
    let _one = alone();
    let mut server = Server::start();
    thread::scope(|scope| {
        let server = &server;
        let run = scope.spawn(|| server.python("import time; time.sleep(2); print('kept')"));
        thread::sleep(Duration::from_millis(500));
        server.signal(Signal::TERM);
        thread::sleep(Duration::from_millis(300));
        let call = crate::support::Call::new("GET", "/health").send_to(server.address);
        assert!(!matches!(&call, Ok(answer) if answer.status == 200), "{call:?}");
        assert_eq!(run.join().unwrap(), "kept\n");
    });
    assert!(server.wait().success());
}

#[test]
fn a_run_that_does_not_end_does_not_hold_the_end() {
    let _one = alone();
    let mut server = Server::with(Setup::default().env("COFFERDAM_DRAIN_S", 2));
    thread::scope(|scope| {
        let (address, key) = (server.address, server.key.clone());
        scope.spawn(move || {
            let body = json!({"language": "python", "code": "while True: pass", "limits": {"wall_ms": 600_000, "cpu_ms": 600_000}});
            let call = crate::support::Call::new("POST", "/v1/runs").json(&body).header("x-api-key", key);
            let _ = call.send_to(address);
        });
        thread::sleep(Duration::from_millis(500));
        let started = Instant::now();
        server.signal(Signal::TERM);
        server.wait();
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    });
}
