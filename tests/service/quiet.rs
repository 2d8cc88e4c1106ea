//! Isolation: logs contain no code and no secrets, the worker has no environment and few rights.

use std::fs;

use serde_json::json;

use crate::alone;
use crate::support::{Call, Server, Setup, process};

#[test]
fn logs_have_run_ids_and_neither_code_nor_secrets() {
    let _one = alone();
    let server = Server::with(Setup::default().env("COFFERDAM_LOG", "debug"));
    let body = json!({
        "language": "python", "stdin": "canary-stdin", "args": ["canary-args"], "env": {"CANARY_NAME": "canary-env"},
        "files": {"canary-file.txt": "canary-content"},
        "code": "# canary-code\nprint('canary-' + 'output')\nopen('canary-made.txt', 'w')\nraise ValueError('canary-' + 'error')",
    });
    let outcome = server.run(body.clone()).expect(200);
    let session = server.session(json!({"language": "python"}));
    server.in_session(&session, "canary_variable = 'canary-code'");
    server.post(&format!("/v1/sessions/{session}/suspend"), &json!({})).expect(200);
    server.get(&format!("/v1/sessions/{session}/files/canary-path.txt")).problem(404, "not-found");
    server.get("/v1/canary-address?x=canary-query").problem(404, "not-found");
    server
        .run(json!({"language": "python", "code": "canary-code", "limits": {"wall_ms": 0}}))
        .problem(422, "invalid-request");
    let broken = Call::new("POST", "/v1/runs").body("{\"code\": \"canary-code", "application/json");
    server.send(broken).problem(400, "malformed-request");
    let wrong_key = Call::new("GET", "/v1/sessions").header("x-api-key", "canary-wrong-key");
    server.send(wrong_key).problem(401, "unauthorized");
    server.run(json!({"language": "python", "code": "import os; os.abort() # canary-code"})).expect(200);
    let key = server.new_key(&["run"]);
    let log = server.log();
    assert!(log.contains(outcome["id"].as_str().unwrap()), "the run's id is not in the log:\n{log}");
    for secret in ["canary", "CANARY", &server.key, &key] {
        let line = log.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret:?} is in the log: {line:?}");
    }
    let folder = server.stop();
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    let not_json =
        log.lines().find(|line| line.contains("level") && serde_json::from_str::<serde_json::Value>(line).is_err());
    assert!(not_json.is_none() && !log.contains("canary"), "{not_json:?}");
}

#[test]
fn the_worker_has_no_environment_and_no_secret() {
    let _one = alone();
    let setup =
        Setup::default().env("AWS_SECRET_ACCESS_KEY", "canary").env("DATABASE_URL", "").env("OPENAI_API_KEY", "canary");
    let server = Server::with(setup.env("COFFERDAM_LOG", "info"));
    let worker = server.worker_pid().unwrap();
    let variables = process::environment(worker);
    let known = |variable: &String| ["COFFERDAM_LOG=", "RUST_BACKTRACE="].iter().any(|name| variable.starts_with(name));
    assert!(variables.iter().all(known), "{variables:?}");
    let words = process::command_line(worker).join(" ");
    assert!(!words.contains("canary") && !words.contains(&server.key), "{words}");
}

#[test]
fn the_worker_is_confined() {
    let _one = alone();
    let server = Server::start();
    let worker = server.worker_pid().unwrap();
    let all = fs::read_dir(format!("/proc/{worker}/task")).unwrap().map(|t| t.unwrap().file_name());
    for thread in all.map(|name| name.to_string_lossy().parse::<u32>().unwrap()) {
        assert_eq!(process::status(thread, "Seccomp").as_deref(), Some("2"), "seccomp of thread {thread}");
        assert_eq!(process::status(thread, "NoNewPrivs").as_deref(), Some("1"), "no_new_privs of thread {thread}");
    }
    let open = fs::read_dir(format!("/proc/{worker}/fd")).unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    let open: Vec<String> = open.map(|path| path.to_string_lossy().into_owned()).collect();
    let bad = |path: &&String| path.contains("cofferdam.db") || path.contains("api-key");
    assert!(!open.iter().any(|path| bad(&path)), "{open:?}");
    let children = process::child_with(worker, "");
    assert_eq!(children, None);
}

#[test]
fn the_made_key_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let _one = alone();
    let server = Server::with(Setup::default().env("COFFERDAM_API_KEY", ""));
    let path = server.data().join("api-key");
    let key = fs::read_to_string(&path).expect("the key's file");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(server.data()).unwrap().permissions().mode() & 0o777, 0o700);
    let call = Call::new("GET", "/v1/sessions").header("x-api-key", key.trim());
    assert_eq!(server.send(call).status, 200);
    assert!(!server.log().contains(key.trim()), "the key is in the log");
}
