//! A thousand runs that each hit a limit leak no memory, handles or folders.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::alone;
use crate::support::{Server, Setup, process};

/// One run for each kind of failure, with the error's name.
fn kinds() -> Vec<(Value, &'static str)> {
    let run = |language: &str, code: &str, limits: Value| json!({"language": language, "code": code, "limits": limits});
    vec![
        (run("python", "while True: pass", json!({"wall_ms": 20})), "wall_ms"),
        (run("python", "import time; time.sleep(60)", json!({"wall_ms": 20})), "wall_ms"),
        (run("python", "while True: pass", json!({"cpu_ms": 20})), "cpu_ms"),
        (run("python", "x = bytearray(600_000_000)", json!({})), "memory_bytes"),
        (run("python", "while True: print('x' * 9999)", json!({"output_bytes": 100_000})), "output_bytes"),
        (run("python", "while True: display('x' * 9999)", json!({"output_bytes": 100_000})), "output_bytes"),
        (
            run("python", "f = open('f', 'wb')\nwhile True: f.write(b'x' * 99999)", json!({"disk_bytes": 2_000_000})),
            "disk_bytes",
        ),
        (run("python", "i = 0\nwhile True:\n    open(f'f{i}', 'w'); i += 1", json!({"files": 100})), "files"),
        (run("python", "k = []\nwhile True: k.append(open('f', 'w'))", json!({})), "open_files"),
        (run("python", "import os; os.abort()", json!({})), ""),
        (run("python", "import os; os._exit(3)", json!({})), ""),
        (run("python", "1 / 0", json!({})), "ZeroDivisionError"),
        (run("javascript", "for (;;) {}", json!({"wall_ms": 20})), "wall_ms"),
        (
            run(
                "javascript",
                "const x = []; for (;;) x.push('x'.repeat(1e6) + x.length)",
                json!({"memory_bytes": 60_000_000}),
            ),
            "memory_bytes",
        ),
        (run("javascript", "for (;;) console.log('x'.repeat(9999))", json!({"output_bytes": 100_000})), "output_bytes"),
        (run("javascript", "(function f() { return f() + 1 })()", json!({})), ""),
    ]
}

#[derive(Debug)]
struct Measure {
    private_kib: u64,
    handles: usize,
    mappings: usize,
    temporary: usize,
    state: usize,
    server_kib: u64,
    server_handles: usize,
}

/// Connections between server and worker close after twenty idle seconds. Until then their number depends on load, and
/// each costs the worker six handles; so the test sends nothing for this long.
const QUIET_TIME: Duration = Duration::from_secs(25);
/// Anything that remains after this time is a leak.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);

impl Measure {
    fn of(server: &Server) -> Self {
        let worker = server.worker_pid().unwrap();
        Self {
            private_kib: process::private_kib(worker),
            handles: process::open_handles(worker).len(),
            mappings: process::mappings(worker),
            temporary: process::entries(&server.folder.path().join("tmp")),
            state: process::entries(&server.data().join("worker")),
            server_kib: process::private_kib(server.pid()),
            server_handles: process::open_handles(server.pid()).len(),
        }
    }

    /// Everything that has been added since `before`.
    fn leaks(&self, before: &Self) -> Vec<&'static str> {
        let checks = [
            ("memory", self.private_kib >= before.private_kib + (48 << 10)),
            ("the server's memory", self.server_kib >= before.server_kib + (16 << 10)),
            ("handles", self.handles > before.handles + 4),
            ("the server's handles", self.server_handles > before.server_handles + 4),
            ("mappings", self.mappings > before.mappings + 64),
            ("files", (self.temporary, self.state) != (before.temporary, before.state)),
        ];
        checks.into_iter().filter_map(|(name, leaks)| leaks.then_some(name)).collect()
    }
}

/// Runs every kind this many times, and returns the unexpected outcomes.
fn storm(server: &Server, rounds: usize) -> Vec<String> {
    let kinds = kinds();
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for part in 0..4 {
            let (kinds, wrong) = (&kinds, &wrong);
            scope.spawn(move || {
                for round in 0..rounds {
                    for (number, (body, name)) in kinds.iter().enumerate().skip(part).step_by(4) {
                        let outcome = server.run(body.clone()).expect(200);
                        let named = name.is_empty() || outcome["error"]["name"] == *name;
                        if outcome["status"] == "ok" || !named {
                            let (status, error) = (&outcome["status"], &outcome["error"]);
                            wrong.lock().unwrap().push(format!("round {round}, {name} ({number}): {status} {error}"));
                        }
                    }
                }
            });
        }
    });
    wrong.into_inner().unwrap()
}

#[test]
fn a_thousand_runs_that_hit_limits_leave_nothing() {
    let _one = alone();
    let server = Server::with(Setup::default().config("[worker]\nrun_files_s = 2\n"));
    let worker = server.worker_pid();
    // Until the allocator of every thread has its size: by measurement after some 450 runs.
    storm(&server, 32);
    thread::sleep(QUIET_TIME);
    let before = Measure::of(&server);
    let wrong = storm(&server, 63);
    thread::sleep(QUIET_TIME);
    let ended = Instant::now();
    let mut after = Measure::of(&server);
    while !after.leaks(&before).is_empty() && ended.elapsed() < SETTLE_TIMEOUT {
        thread::sleep(Duration::from_secs(1));
        after = Measure::of(&server);
    }
    eprintln!("before {before:?}\nafter  {after:?}");
    assert_eq!(server.worker_pid(), worker, "the worker was lost on the way");
    let open = server.worker_pid().map(process::open_handles);
    assert_eq!(after.leaks(&before), [""; 0], "before {before:?}, after {after:?}, open in the worker: {open:?}");
    assert_eq!(server.metric("cofferdam_worker_files_bytes"), Some(0.0), "sandboxes' files are still held");
    assert_eq!(server.metric("cofferdam_worker_slots_spoiled_total"), Some(0.0));
    assert!(wrong.is_empty(), "{} ended otherwise, the first: {}", wrong.len(), wrong[0]);
}
