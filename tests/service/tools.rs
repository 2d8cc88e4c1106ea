//! The process that runs tools: its crashes, its cost, its restrictions.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Answer, Call, Server, Setup, process};
use crate::{alone, eventually};

pub(crate) const TOOL: &str = r#"(component
    (core module $m
        (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
        (func (export "spin") (loop (br 0)))
        (func (export "break") unreachable))
    (core instance $i (instantiate $m))
    (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
    (func (export "spin") (canon lift (core func $i "spin")))
    (func (export "break") (canon lift (core func $i "break"))))"#;

fn deploy(server: &Server, name: &str) -> Answer {
    let component = wat::parse_str(TOOL).unwrap();
    server.send(Call::new("PUT", format!("/v1/tools/{name}")).body(component, "application/wasm"))
}

fn call(server: &Server, function: &str, arguments: &Value) -> Answer {
    server.post(&format!("/v1/tools/calc/functions/{function}"), arguments)
}

fn adds(server: &Server) -> bool {
    let answer = call(server, "add", &json!({"a": 40, "b": 2}));
    answer.status == 200 && answer.json()["result"] == 42
}

fn tool_worker(server: &Server) -> Option<u32> {
    process::child_with(server.pid(), "tool-worker")
}

#[test]
fn a_killed_tool_worker_costs_its_calls_an_error_and_snippets_nothing() {
    let _one = alone();
    let server = Server::start();
    deploy(&server, "calc").expect(201);
    assert!(adds(&server));
    let snippets = server.worker_pid().unwrap();
    for _ in 0..3 {
        let worker = tool_worker(&server).unwrap();
        thread::scope(|scope| {
            let spinning = scope.spawn(|| call(&server, "spin", &json!({})));
            let slow = scope.spawn(|| server.python("import time; time.sleep(0.6); print('undisturbed')"));
            thread::sleep(Duration::from_millis(300));
            process::signal(worker, Signal::KILL);
            let killed = Instant::now();
            spinning.join().unwrap().problem(503, "worker-lost");
            eventually("a call after the kill", Duration::from_secs(10), || adds(&server));
            assert!(killed.elapsed() < Duration::from_secs(1), "back after {:?}", killed.elapsed());
            assert_eq!(slow.join().unwrap(), "undisturbed\n");
        });
        assert_ne!(tool_worker(&server), Some(worker));
    }
    assert_eq!(server.worker_pid(), Some(snippets), "the other worker lives on");
    assert_eq!(server.metric("cofferdam_api_tool_worker_restarts_total"), Some(3.0));
    assert_eq!(server.metric("cofferdam_api_worker_restarts_total"), None);
}

#[test]
fn a_tool_worker_that_hangs_is_replaced_and_the_end_is_in_order() {
    let _one = alone();
    let server = Server::start();
    deploy(&server, "calc").expect(201);
    let worker = tool_worker(&server).unwrap();
    process::signal(worker, Signal::STOP);
    let caught = call(&server, "add", &json!({"a": 1, "b": 1}));
    // Where its connection was new, the hung worker has not taken it, and the next one does.
    match caught.status {
        200 => assert_eq!(caught.expect(200)["result"], json!(2)),
        _ => drop(caught.problem(503, "worker-lost")),
    }
    eventually("a call after the hang", Duration::from_secs(10), || adds(&server));
    assert_ne!(tool_worker(&server), Some(worker));
    let worker = tool_worker(&server).unwrap();
    server.stop();
    assert!(process::command_line(worker).is_empty(), "it ends with the server");
}

#[test]
fn the_tool_worker_is_confined_small_and_knows_nothing() {
    let _one = alone();
    let server = Server::with(Setup::default().env("OPENAI_API_KEY", "canary"));
    let worker = tool_worker(&server).unwrap();
    let idle = process::private_kib(worker);
    assert!(idle < 16 << 10, "{idle} KiB without a tool");
    deploy(&server, "calc").expect(201);
    assert!(adds(&server));
    let failed = call(&server, "break", &json!({})).expect(200);
    assert_eq!((&failed["status"], &failed["error"]["name"]), (&json!("error"), &json!("Trap")));
    for thread in fs::read_dir(format!("/proc/{worker}/task")).unwrap().filter_map(Result::ok) {
        let thread: u32 = thread.file_name().to_string_lossy().parse().unwrap();
        assert_eq!(process::status(thread, "Seccomp").as_deref(), Some("2"), "seccomp of thread {thread}");
        assert_eq!(process::status(thread, "NoNewPrivs").as_deref(), Some("1"), "no_new_privs of thread {thread}");
    }
    let known = |variable: &String| ["COFFERDAM_LOG=", "RUST_BACKTRACE="].iter().any(|name| variable.starts_with(name));
    assert!(process::environment(worker).iter().all(known), "{:?}", process::environment(worker));
    let open = fs::read_dir(format!("/proc/{worker}/fd")).unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    let bad =
        |path: &Path| ["cofferdam.db", "api-key", "blobs"].iter().any(|word| path.to_string_lossy().contains(word));
    let bad: Vec<_> = open.filter(|path| bad(path)).collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(process::child_with(worker, ""), None);
    assert_eq!(process::child_with(server.pid(), "compile"), None, "compilers do not stay");
}

#[test]
fn compiled_code_that_is_gone_is_made_again() {
    let _one = alone();
    let cache = tempfile::tempdir().unwrap();
    // Kernels are linked in, so that nothing but the component is compiled.
    for entry in fs::read_dir(crate::support::server::cache()).unwrap().filter_map(Result::ok) {
        if entry.file_type().unwrap().is_file() {
            fs::hard_link(entry.path(), cache.path().join(entry.file_name()))
                .or_else(|_| fs::copy(entry.path(), cache.path().join(entry.file_name())).map(drop))
                .unwrap();
        }
    }
    let server = Server::with(Setup::default().env("COFFERDAM_CACHE_DIR", cache.path().display()));
    deploy(&server, "calc").expect(201);
    assert!(adds(&server));
    let folders = || fs::read_dir(cache.path()).unwrap().filter_map(Result::ok).filter(|e| e.path().is_dir());
    assert!(folders().count() > 0, "components have a folder of their own");
    folders().for_each(|folder| fs::remove_dir_all(folder.path()).unwrap());
    process::signal(tool_worker(&server).unwrap(), Signal::KILL);
    eventually("a call after all is gone", Duration::from_secs(10), || adds(&server));
}

#[test]
fn a_tool_behind_a_code_runner_is_called_and_its_component_travels() {
    let _one = alone();
    let token = ("COFFERDAM_WORKER_TOKEN", "a-worker-token-of-these-tests");
    let setup = || Setup::default().env(token.0, token.1);
    let runner = Server::with(Setup { unready: true, ..setup() }.args(&["--role", "code-runner"]));
    let address = format!("http://{}", runner.address);
    let server = Server::with(setup().env("COFFERDAM_WORKERS", address).args(&["--role", "controller"]));
    eventually("the deployment", Duration::from_secs(20), || matches!(deploy(&server, "calc").status, 200 | 201));
    assert!(adds(&server));
    process::signal(tool_worker(&runner).unwrap(), Signal::KILL);
    eventually("a call after the kill", Duration::from_secs(10), || adds(&server));
    assert_eq!(tool_worker(&server), None, "a controller has no worker of its own");
}
