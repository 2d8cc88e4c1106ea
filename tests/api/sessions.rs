//! `/v1/sessions`: create, use, list, wait for and end sessions.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::Server;

#[test]
fn state_lives_from_run_to_run() {
    let server = Server::shared();
    let session = server.post("/v1/sessions", &json!({"language": "python", "ttl_s": 600})).expect(201);
    assert_eq!(
        (&session["language"], &session["state"], &session["ttl_s"]),
        (&json!("python"), &json!("live"), &json!(600))
    );
    let id = session["id"].as_str().unwrap();
    server.in_session(id, "import math\nx = [1, 2]\ndef f(): return math.pi\nopen('kept.txt', 'w').write('kept')");
    let outcome =
        server.run(json!({"session": id, "code": "x.append(3)\nprint(x, round(f(), 2), open('kept.txt').read())"}));
    let outcome = outcome.expect(200);
    assert_eq!((&outcome["stdout"], &outcome["session"]), (&json!("[1, 2, 3] 3.14 kept\n"), &json!(id)));
    assert_eq!(server.in_session(id, "print(_ if False else len(x))"), "3\n");
    let shown = server.get(&format!("/v1/sessions/{id}")).expect(200);
    assert_eq!((&shown["id"], &shown["state"]), (&json!(id), &json!("live")));
    assert!(shown["expires_at"].as_u64() > shown["last_used_at"].as_u64(), "{shown}");
}

#[test]
fn javascript_sessions_keep_their_state_too() {
    let server = Server::shared();
    let id = server.session(json!({"language": "javascript"}));
    server.in_session(
        &id,
        "let count = 1; const fs = require('fs'); class A { get n() { return count; } } var a = new A();",
    );
    server.in_session(&id, "count += 41; globalThis.later = () => a.n;");
    assert_eq!(server.in_session(&id, "console.log(count, later())"), "42 42\n");
    let typed = json!({"session": id, "language": "typescript", "code": "const y: number = count; console.log(y)"});
    assert_eq!(server.run(typed).expect(200)["stdout"], "42\n");
}

#[test]
fn sessions_are_listed_by_page_and_ended() {
    let server = Server::shared();
    let key = server.new_key(&["run"]);
    let call = |method: &str, path: &str| {
        let call = crate::support::Call::new(method, path).header("x-api-key", &key);
        server.send(if method == "POST" { call.json(&json!({"language": "javascript"})) } else { call })
    };
    let mut made: Vec<String> =
        (0..3).map(|_| call("POST", "/v1/sessions").expect(201)["id"].as_str().unwrap().to_owned()).collect();
    made.sort();
    let first = call("GET", "/v1/sessions?limit=2").expect(200);
    assert_eq!(first["sessions"].as_array().unwrap().len(), 2, "{first}");
    let next = first["next"].as_str().unwrap();
    let second = call("GET", &format!("/v1/sessions?limit=2&after={next}")).expect(200);
    assert!(second.get("next").is_none(), "{second}");
    let pages = [&first, &second].map(|page| page["sessions"].as_array().unwrap().clone()).concat();
    let mut listed: Vec<_> = pages.iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect();
    listed.sort();
    assert_eq!(listed, made);
    for id in &made {
        assert_eq!(call("DELETE", &format!("/v1/sessions/{id}")).status, 204);
        call("GET", &format!("/v1/sessions/{id}")).problem(404, "not-found");
        call("DELETE", &format!("/v1/sessions/{id}")).problem(404, "not-found");
    }
    assert_eq!(call("GET", "/v1/sessions").expect(200)["sessions"], json!([]));
    call("GET", "/v1/sessions?limit=0").problem(422, "invalid-request");
    assert_eq!(call("GET", "/v1/sessions?limit=x").status / 100, 4);
}

#[test]
fn a_second_run_waits_or_is_refused_as_asked() {
    let server = Server::shared();
    let id = server.session(json!({"language": "python"}));
    server.in_session(&id, "import time\nlog = []");
    thread::scope(|scope| {
        let slow = scope.spawn(|| server.in_session(&id, "time.sleep(1.2); log.append('slow'); print('slow')"));
        thread::sleep(Duration::from_millis(400));
        let refused = server.run(json!({"session": id, "code": "log.append('refused')", "if_busy": "refuse"}));
        refused.problem(409, "session-busy");
        let started = Instant::now();
        assert_eq!(server.in_session(&id, "log.append('waited'); print(log)"), "['slow', 'waited']\n");
        assert!(started.elapsed() > Duration::from_millis(400), "it did not wait");
        assert_eq!(slow.join().unwrap(), "slow\n");
    });
    let impatient = json!({"session": id, "code": "1", "limits": {"wall_ms": 200}});
    thread::scope(|scope| {
        scope.spawn(|| server.in_session(&id, "time.sleep(1.2)"));
        thread::sleep(Duration::from_millis(400));
        server.run(impatient).problem(409, "session-busy");
    });
}

#[test]
fn a_session_ends_when_it_has_been_idle() {
    let server = Server::shared();
    let id = server.session(json!({"language": "javascript", "ttl_s": 1}));
    thread::sleep(Duration::from_millis(2_500));
    server.run(json!({"session": id, "code": "1"})).problem(404, "not-found");
    server.get(&format!("/v1/sessions/{id}")).problem(404, "not-found");
}

#[test]
fn the_sessions_limits_hold_for_its_runs() {
    let server = Server::shared();
    let id = server.session(json!({"language": "python", "limits": {"output_bytes": 100}}));
    let outcome = server.run(json!({"session": id, "code": "print('x' * 1000)"})).expect(200);
    assert_eq!(outcome["error"]["name"], "output_bytes", "{outcome:#}");
}
