//! Workers on other machines, over the same wire: `--role code-runner` there, its address and a token here.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::support::{Call, Server, Setup};
use crate::{alone, eventually};

const TOKEN: &str = "a-token-between-machines-canary";

fn runner() -> Server {
    let setup = Setup { unready: true, ..Setup::default() };
    let server = Server::with(setup.env("COFFERDAM_WORKER_TOKEN", TOKEN).args(&["--role", "code-runner"]));
    eventually("the runner is up", Duration::from_secs(600), || {
        let call = Call::new("GET", "/health").header("authorization", format!("Bearer {TOKEN}"));
        call.send_to(server.address).is_ok_and(|answer| answer.status == 200 && answer.text().contains("python"))
    });
    server
}

fn controller(runners: &[&Server], token: &str) -> Setup {
    let addresses: Vec<String> = runners.iter().map(|runner| format!("http://{}", runner.address)).collect();
    let setup = Setup::default().env("COFFERDAM_WORKERS", addresses.join(",")).env("COFFERDAM_WORKER_TOKEN", token);
    setup.args(&["--role", "controller"])
}

#[test]
fn a_remote_worker_does_what_a_local_one_does() {
    let _one = alone();
    let runner = runner();
    let server = Server::with(controller(&[&runner], TOKEN));
    assert_eq!(server.worker_pid(), None, "a controller has no worker of its own");
    assert_eq!(server.python("print(6 * 7)"), "42\n");
    let outcome =
        server.run(json!({"language": "python", "code": "open('big', 'wb').write(b'x' * 3_000_000)"})).expect(200);
    let file = server.get(&format!("/v1/runs/{}/files/big", outcome["id"].as_str().unwrap()));
    assert_eq!((file.status, file.body.len()), (200, 3_000_000));
    let id = server.session(json!({"language": "python"}));
    server.in_session(&id, "x = 42");
    server.post(&format!("/v1/sessions/{id}/suspend"), &json!({})).expect(200);
    let fork = server.post(&format!("/v1/sessions/{id}/fork"), &json!({"count": 2})).expect(201);
    assert_eq!(server.in_session(fork["sessions"][1]["id"].as_str().unwrap(), "print(x)"), "42\n");
    let put = Call::new("PUT", format!("/v1/sessions/{id}/files/a.txt")).body("text", "application/octet-stream");
    assert_eq!(server.send(put).status, 204);
    assert_eq!(server.in_session(&id, "print(open('a.txt').read(), x)"), "text 42\n");
    let events = Call::new("POST", "/v1/runs").json(&json!({"language": "javascript", "code": "console.log(1); 2"}));
    let events = server.send(events.header("accept", "text/event-stream")).events();
    assert_eq!(events.last().unwrap().1["status"], "ok", "{events:?}");
    for log in [server.log(), runner.log()] {
        assert!(!log.contains(TOKEN), "the token is in a log");
    }
}

#[test]
fn nobody_without_the_token_gets_anything_from_a_runner() {
    let _one = alone();
    let runner = runner();
    let body = json!({"language": "python", "code": "print(1)"});
    for (name, value) in
        [("x-none", ""), ("authorization", "Bearer wrong"), ("authorization", TOKEN), ("x-api-key", TOKEN)]
    {
        for (method, path) in
            [("POST", "/runs"), ("POST", "/v1/runs"), ("GET", "/metrics"), ("POST", "/sessions"), ("GET", "/x")]
        {
            let call =
                Call::new(method, path).json(&body).header(name, value).header("cofferdam-organization", "default");
            call.send_to(runner.address).unwrap().problem(401, "unauthorized");
        }
    }
    let bare = Call::new("GET", "/health").send_to(runner.address).unwrap();
    assert_eq!(bare.expect(200), json!({"status": "ok"}));
    let setup = Setup { unready: true, ..controller(&[&runner], "another-token-between-machines") };
    let server = Server::with(setup);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(server.get("/ready").status, 503);
    server.run(body).problem(503, "unavailable");
}

#[test]
fn sessions_find_their_worker_again_and_a_lost_one_is_said() {
    let _one = alone();
    let (first, second) = (runner(), runner());
    let server = Server::with(controller(&[&first, &second], TOKEN));
    eventually("both are ready", Duration::from_secs(10), || {
        server.get("/ready").json()["workers"].as_array().is_some_and(|all| all.iter().all(|w| w["ready"] == true))
    });
    let ids: Vec<String> = (0..6).map(|_| server.session(json!({"language": "javascript"}))).collect();
    for (n, id) in ids.iter().enumerate() {
        server.in_session(id, &format!("var n = {n}"));
    }
    let folder = server.stop();
    let server = Server::in_folder(folder, controller(&[&first, &second], TOKEN));
    eventually("both are ready", Duration::from_secs(10), || {
        server.get("/ready").json()["workers"].as_array().is_some_and(|all| all.iter().all(|w| w["ready"] == true))
    });
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(server.in_session(id, "console.log(n)"), format!("{n}\n"));
    }
    drop(first);
    let (mut found, mut lost) = (0, 0);
    for id in &ids {
        let answer = server.run(json!({"session": id, "code": "console.log(n)"}));
        match answer.status {
            200 => found += 1,
            503 => lost += 1,
            other => panic!("{other}: {}", answer.text()),
        }
    }
    assert!(found > 0 && lost > 0, "{found} found, {lost} lost");
    for _ in 0..20 {
        let answer = server.run(json!({"language": "javascript", "code": "console.log(1)"}));
        assert_eq!(answer.status, 200, "a run without a session goes to the other worker: {}", answer.text());
    }
}

#[test]
fn a_runner_that_is_restarted_keeps_its_sessions() {
    let _one = alone();
    let runner = runner();
    let address = runner.address.to_string();
    let server = Server::with(controller(&[&runner], TOKEN));
    let id = server.session(json!({"language": "python"}));
    server.in_session(&id, "x = 42");
    let folder: Arc<_> = runner.stop();
    let setup = Setup { unready: true, ..Setup::default() };
    let setup = setup.env("COFFERDAM_WORKER_TOKEN", TOKEN).args(&["--role", "code-runner", "--listen", &address]);
    let _again = Server::in_folder(folder, setup);
    eventually("the session is back", Duration::from_secs(15), || {
        let answer = server.run(json!({"session": id, "code": "print(x)"}));
        assert!([200, 503].contains(&answer.status), "{}", answer.text());
        answer.status == 200 && answer.json()["stdout"] == "42\n"
    });
}
