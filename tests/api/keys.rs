//! Keys and scopes.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Answer, Call, Server};

fn with(server: &Server, key: &str, call: Call) -> Answer {
    server.send(call.header("x-api-key", key))
}

#[test]
fn every_address_but_those_that_are_open_wants_a_key() {
    let server = Server::shared();
    let document = server.get("/openapi.json").expect(200);
    let mut seen = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        // The answer to HEAD has no body to look at.
        for method in item.as_object().unwrap().keys().filter(|method| method.as_str() != "head") {
            let segment = |part: &str| if part.starts_with('{') { "x".to_owned() } else { part.to_owned() };
            let path = path.split('/').map(segment).collect::<Vec<_>>().join("/");
            let call = Call::new(&method.to_uppercase(), &path).header("x-api-key", "wrong");
            let answer = call.send_to(server.address).unwrap();
            if path.starts_with("/uploads/") {
                // The link authorizes, and this one is invalid. PATCH needs an offset first.
                assert_eq!(answer.status, if method == "patch" { 400 } else { 404 }, "{method} {path}");
            } else if path.starts_with("/oauth/") {
                // Browsers and authorization servers come here; a login that nobody has begun is refused.
                assert!(matches!(answer.status, 200 | 400 | 404), "{path}: {}", answer.status);
            } else if !["/health", "/ready", "/metrics", "/openapi.json"].contains(&path.as_str()) {
                answer.problem(401, "unauthorized");
                assert!(answer.header("www-authenticate").is_some(), "{path}");
                seen += 1;
            } else {
                assert_eq!(answer.status, 200, "{path}");
            }
        }
    }
    assert!(seen >= 18, "{seen} calls that want a key");
}

#[test]
fn a_key_is_shown_once_and_revoked_at_once() {
    let server = Server::shared();
    let made = server.post("/v1/keys", &json!({"name": "one", "scopes": ["run"]})).expect(201);
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let run =
        || with(&server, key, Call::new("POST", "/v1/runs").json(&json!({"language": "javascript", "code": "1"})));
    assert_eq!(run().status, 200);
    let bearer = Call::new("GET", "/v1/sessions").header("authorization", format!("Bearer {key}"));
    assert_eq!(server.send(bearer).status, 200);
    let list = server.get("/v1/keys");
    assert!(list.text().contains(id) && !list.text().contains(key));
    assert_eq!(server.send(Call::new("DELETE", format!("/v1/keys/{id}"))).status, 204);
    run().problem(401, "unauthorized");
    server.send(Call::new("DELETE", format!("/v1/keys/{id}"))).problem(404, "not-found");
}

#[test]
fn a_revoked_key_ends_what_it_has_under_way() {
    let server = Server::shared();
    let made = server.post("/v1/keys", &json!({"name": "short", "scopes": ["run"]})).expect(201);
    let (id, key) = (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned());
    let code = "import time\nfor n in range(200):\n    print(n, flush=True)\n    time.sleep(0.1)";
    let run = json!({"language": "python", "code": code, "limits": {"wall_ms": 20_000}});
    let ways = ["application/json", "text/event-stream"].map(|accept| {
        let call = Call::new("POST", "/v1/runs").json(&run).header("accept", accept).header("x-api-key", &key);
        let address = server.address;
        std::thread::spawn(move || (call.send_to(address), Instant::now()))
    });
    let changes = Call::new("GET", "/mcp").header("accept", "text/event-stream").header("x-api-key", &key);
    let address = server.address;
    let changes = std::thread::spawn(move || (changes.send_to(address), Instant::now()));
    std::thread::sleep(Duration::from_millis(1_500));
    let revoked = Instant::now();
    assert_eq!(server.send(Call::new("DELETE", format!("/v1/keys/{id}"))).status, 204);
    let [json, events] = ways.map(|way| way.join().unwrap());
    json.0.unwrap().problem(401, "unauthorized");
    let changes = changes.join().unwrap();
    for (name, (answer, ended)) in [("events", events), ("mcp", changes)] {
        let whole = answer.is_ok_and(|answer| answer.text().contains("event: end"));
        assert!(!whole, "{name} went on to its end");
        assert!(ended < revoked + Duration::from_secs(1), "{name} went on for {:?}", ended - revoked);
    }
    assert!(json.1 < revoked + Duration::from_secs(1));
}

#[test]
fn a_key_that_is_over_ends_what_it_has_under_way() {
    let server = Server::shared();
    let made = server.post("/v1/keys", &json!({"name": "short", "scopes": ["run"], "ttl_s": 3})).expect(201);
    let key = made["key"].as_str().unwrap().to_owned();
    let code = "import time\nfor n in range(200):\n    print(n, flush=True)\n    time.sleep(0.1)";
    let run = json!({"language": "python", "code": code, "limits": {"wall_ms": 20_000}});
    let started = Instant::now();
    let call = Call::new("POST", "/v1/runs").json(&run).header("accept", "text/event-stream").header("x-api-key", &key);
    let whole = call.send_to(server.address).is_ok_and(|answer| answer.text().contains("event: end"));
    assert!(!whole, "the stream went on to its end");
    let took = started.elapsed();
    assert!((Duration::from_millis(1_500)..Duration::from_secs(5)).contains(&took), "it went on for {took:?}");
    let refused = with(&server, &key, Call::new("GET", "/v1/sessions")).problem(401, "unauthorized");
    assert!(refused.contains("expired"), "{refused}");
}

#[test]
fn scopes_are_kept() {
    let server = Server::shared();
    let run = || Call::new("POST", "/v1/runs").json(&json!({"language": "javascript", "code": "1"}));
    let make = || Call::new("POST", "/v1/keys").json(&json!({"name": "x", "scopes": ["admin"]}));
    let list = || Call::new("GET", "/v1/sessions");
    for (scope, runs, lists, makes) in [
        ("read", 403, 200, 403),
        ("invoke", 403, 403, 403),
        ("run", 200, 200, 403),
        ("deploy", 403, 200, 403),
        ("admin", 200, 200, 201),
    ] {
        let key = server.new_key(&[scope]);
        let got = [run(), list(), make()].map(|call| with(&server, &key, call).status);
        assert_eq!(got, [runs, lists, makes], "{scope}");
    }
    server.post("/v1/keys", &json!({"name": "x", "scopes": []})).problem(422, "invalid-request");
    server.post("/v1/keys", &json!({"name": "", "scopes": ["run"]})).problem(422, "invalid-request");
    assert_eq!(server.post("/v1/keys", &json!({"name": "x", "scopes": ["root"]})).status / 100, 4);
}
