//! Suspend, resume, fork, snapshots: the state survives unchanged.

use serde_json::json;

use crate::support::Server;

const MAKE: &str = "
import numpy as np, random
class P:
    def __init__(self, n): self.n = n
def count():
    i = 0
    while True:
        yield i
        i += 1
g = count(); next(g); next(g)
p = P(7); big = list(range(200_000)); a = np.arange(10); d = {'k': p}
open('note.txt', 'w').write('noted')
";
const LOOK: &str = "print(next(g), p.n, d['k'] is p, len(big), big[-1], a.sum(), open('note.txt').read())";
const SEEN: &str = "2 7 True 200000 199999 45 noted\n";

#[test]
fn a_suspended_session_comes_back_as_it_was() {
    let server = Server::shared();
    let id = server.session(json!({"language": "python"}));
    server.in_session(&id, MAKE);
    let path = |tail: &str| format!("/v1/sessions/{id}{tail}");
    assert_eq!(server.post(&path("/suspend"), &json!({})).expect(200)["state"], "suspended");
    server.post(&path("/suspend"), &json!({})).problem(409, "conflict");
    assert_eq!(server.get(&path("")).expect(200)["state"], "suspended");
    assert_eq!(server.post(&path("/resume"), &json!({})).expect(200)["state"], "live");
    server.post(&path("/resume"), &json!({})).problem(409, "conflict");
    assert_eq!(server.in_session(&id, LOOK), SEEN);
}

#[test]
fn a_run_resumes_by_itself() {
    let server = Server::shared();
    let id = server.session(json!({"language": "python"}));
    server.in_session(&id, MAKE);
    server.post(&format!("/v1/sessions/{id}/suspend"), &json!({})).expect(200);
    assert_eq!(server.in_session(&id, LOOK), SEEN);
    assert_eq!(server.get(&format!("/v1/sessions/{id}")).expect(200)["state"], "live");
}

#[test]
fn forks_are_copies_that_go_their_own_ways() {
    let server = Server::shared();
    let id = server.session(json!({"language": "python"}));
    server.in_session(&id, MAKE);
    for suspended in [false, true] {
        if suspended {
            server.post(&format!("/v1/sessions/{id}/suspend"), &json!({})).expect(200);
        }
        let forks = server.post(&format!("/v1/sessions/{id}/fork"), &json!({"count": 3})).expect(201);
        let forks: Vec<String> =
            forks["sessions"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(forks.len(), 3);
        for (n, fork) in forks.iter().enumerate() {
            let code = format!("p.n += {n}; big.append({n}); open('note.txt', 'a').write('{n}')\n{LOOK}");
            assert_eq!(server.in_session(fork, &code), format!("2 {} True 200001 {n} 45 noted{n}\n", 7 + n));
        }
        let random = |id: &String| server.in_session(id, "print(random.random(), np.random.rand())");
        assert_ne!(random(&forks[0]), random(&forks[1]));
    }
    assert_eq!(server.in_session(&id, LOOK), SEEN, "the original is untouched");
}

#[test]
fn a_fork_of_a_fork_works_before_its_first_run() {
    let server = Server::shared();
    let id = server.session(json!({"language": "javascript"}));
    server.in_session(
        &id,
        "let n = 5; const m = new Map([['k', { n }]]); function* g() { yield 1; yield 2; } const it = g(); it.next();",
    );
    let fork = |id: &str| {
        let forks = server.post(&format!("/v1/sessions/{id}/fork"), &json!({})).expect(201);
        forks["sessions"][0]["id"].as_str().unwrap().to_owned()
    };
    let second = fork(&fork(&id));
    server.post(&format!("/v1/sessions/{second}/suspend"), &json!({})).expect(200);
    assert_eq!(server.in_session(&second, "console.log(n, m.get('k').n, it.next().value)"), "5 5 2\n");
}

#[test]
fn a_hundred_forks_all_work() {
    let server = Server::shared();
    let id = server.session(json!({"language": "python"}));
    server.in_session(&id, "data = list(range(100_000)); tag = 'original'");
    let forks = server.post(&format!("/v1/sessions/{id}/fork"), &json!({"count": 100})).expect(201);
    let forks = forks["sessions"].as_array().unwrap();
    assert_eq!(forks.len(), 100);
    for (n, fork) in forks.iter().enumerate() {
        let fork = fork["id"].as_str().unwrap();
        assert_eq!(server.in_session(fork, &format!("tag = {n}; print(tag, data[{n}])")), format!("{n} {n}\n"));
        assert_eq!(server.send(crate::support::Call::new("DELETE", format!("/v1/sessions/{fork}"))).status, 204);
    }
    assert_eq!(server.in_session(&id, "print(tag)"), "original\n");
}

#[test]
fn snapshots_have_names_and_new_sessions_start_from_them() {
    let server = Server::shared();
    let id = server.session(json!({"language": "python"}));
    server.in_session(&id, MAKE);
    let name = "snap-of-states";
    let path = format!("/v1/sessions/{id}/snapshots");
    let snapshot = server.post(&path, &json!({"name": name})).expect(201);
    assert!(snapshot["size_bytes"].as_u64().unwrap() > 0, "{snapshot}");
    server.post(&path, &json!({"name": name})).problem(409, "conflict");
    server.post(&path, &json!({"name": "../x"})).problem(422, "invalid-request");
    server.in_session(&id, "p.n = 0; big.clear()");
    for _ in 0..2 {
        let new = server.session(json!({"snapshot": name}));
        assert_eq!(server.in_session(&new, LOOK), SEEN);
    }
    let wrong = server.post("/v1/sessions", &json!({"snapshot": name, "language": "javascript"}));
    wrong.problem(422, "invalid-request");
    let listed = server.get("/v1/snapshots").expect(200);
    assert!(listed["snapshots"].as_array().unwrap().iter().any(|s| s["name"] == name), "{listed}");
    let foreign = crate::support::Call::new("POST", "/v1/sessions").json(&json!({"snapshot": name}));
    server.send(foreign.header("x-api-key", server.new_key(&["run"]))).problem(404, "not-found");
    let delete = || server.send(crate::support::Call::new("DELETE", format!("/v1/snapshots/{name}")));
    assert_eq!(delete().status, 204);
    delete().problem(404, "not-found");
    server.post("/v1/sessions", &json!({"snapshot": name})).problem(404, "not-found");
}

#[test]
fn what_cannot_be_carried_over_is_said() {
    let server = Server::shared();
    let id = server.session(json!({"language": "python"}));
    server.in_session(&id, "f = open('open.txt', 'w'); f.write('x')");
    let suspended = server.post(&format!("/v1/sessions/{id}/suspend"), &json!({})).expect(200);
    assert!(!suspended["warnings"].as_array().is_none_or(Vec::is_empty), "{suspended}");
    let outcome = server.run(json!({"session": id, "code": "f.write('y'); f.flush()"})).expect(200);
    assert_eq!(outcome["status"], "error", "{outcome:#}");
    assert_eq!(server.in_session(&id, "print('well')"), "well\n");
}

#[test]
fn a_session_from_a_snapshot_is_told_of_open_files_as_a_fork_is() {
    let server = Server::shared();
    let id = server.session(json!({"language": "python"}));
    server.in_session(&id, "f = open('open.txt', 'w'); f.write('x')");
    let forks = server.post(&format!("/v1/sessions/{id}/fork"), &json!({})).expect(201);
    let warnings = forks["sessions"][0]["warnings"].clone();
    assert!(warnings[0].as_str().is_some_and(|text| text.contains("1 open file")), "{forks}");
    server.post(&format!("/v1/sessions/{id}/snapshots"), &json!({"name": "with-open-file"})).expect(201);
    let made = server.post("/v1/sessions", &json!({"snapshot": "with-open-file"})).expect(201);
    assert_eq!(made["warnings"], warnings);
    let shown = server.get(&format!("/v1/sessions/{}", made["id"].as_str().unwrap())).expect(200);
    assert_eq!(shown["warnings"], warnings);
}

#[test]
fn a_session_that_its_own_run_ended_says_whose_fault_it_was() {
    let server = Server::shared();
    // No time to note the state between the two runs, and more of it than is noted.
    let grow = "x = bytearray(70_000_000)\nfor i in range(0, len(x), 4096): x[i] = 1";
    for (code, limits, fault, why) in [
        ("while True: pass", json!({"wall_ms": 200}), "limit", "timeout (wall_ms)"),
        ("while True: pass", json!({"cpu_ms": 200}), "limit", "limit (cpu_ms)"),
        ("import os; os._exit(3)", json!({}), "code", "error"),
        ("import os; os.abort()", json!({}), "code", "error"),
    ] {
        let id = server.session(json!({"language": "python"}));
        server.in_session(&id, grow);
        let outcome = server.run(json!({"session": id, "code": code, "limits": limits})).expect(200);
        assert!(outcome["error"]["message"].as_str().unwrap().ends_with("has ended with it"), "{code}: {outcome:#}");
        for answer in [
            server.run(json!({"session": id, "code": "1"})),
            server.get(&format!("/v1/sessions/{id}")),
            server.post(&format!("/v1/sessions/{id}/fork"), &json!({})),
        ] {
            let detail = answer.problem(410, "session-lost");
            assert_eq!(answer.json()["fault"], fault, "{code}: {detail}");
            assert!(detail.contains(why), "{code}: {detail}");
        }
    }
}
