//! Tools: deploy, list, call, roll back and delete them. Refusals are in `tests/attack/tools`.

use serde_json::{Value, json};

use crate::support::{Answer, Call, Server, Setup};

/// A component in text, as its bytes.
fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// `add: func(a: s32, b: s32) -> s32`, which is `a + b + more`.
fn add(more: i32) -> Vec<u8> {
    component(&format!(
        r#"(component
          (core module $m
            (func (export "add") (param i32 i32) (result i32)
              (i32.add (i32.add (local.get 0) (local.get 1)) (i32.const {more}))))
          (core instance $i (instantiate $m))
          (func (export "add") (param "a" s32) (param "b" s32) (result s32) (canon lift (core func $i "add"))))"#
    ))
}

/// Two functions: `one` and `two`.
fn numbers() -> Vec<u8> {
    component(
        r#"(component
          (core module $m
            (func (export "one") (result i32) (i32.const 1))
            (func (export "two") (result i32) (i32.const 2)))
          (core instance $i (instantiate $m))
          (func (export "one") (result u32) (canon lift (core func $i "one")))
          (func (export "two") (result u32) (canon lift (core func $i "two"))))"#,
    )
}

fn put(server: &Server, name: &str, bytes: Vec<u8>) -> Answer {
    server.send(Call::new("PUT", format!("/v1/tools/{name}")).body(bytes, "application/wasm"))
}

fn call(server: &Server, name: &str, function: &str, arguments: &Value) -> Answer {
    server.post(&format!("/v1/tools/{name}/functions/{function}"), arguments)
}

fn delete(server: &Server, name: &str) {
    assert_eq!(server.send(Call::new("DELETE", format!("/v1/tools/{name}"))).status, 204);
}

#[test]
fn a_tool_is_deployed_called_and_deleted() {
    let server = Server::shared();
    let made = put(&server, "adder", add(0)).expect(201);
    assert!(made["version"].as_str().unwrap().starts_with("sha256:"), "{made:#}");
    assert_eq!(made["functions"][0]["name"], "add");
    assert_eq!(made["functions"][0]["input_schema"]["properties"]["a"]["type"], "integer");
    assert_eq!(made["grants"], json!({}));
    let outcome = call(&server, "adder", "add", &json!({"a": 2, "b": 3})).expect(200);
    assert_eq!((&outcome["status"], &outcome["result"]), (&json!("ok"), &json!(5)), "{outcome:#}");
    let list = server.get("/v1/tools").expect(200);
    assert!(list["tools"].as_array().unwrap().iter().any(|tool| tool["name"] == "adder"), "{list:#}");
    assert_eq!(server.get("/v1/tools/adder").expect(200)["versions"][0]["current"], true);
    delete(&server, "adder");
    server.get("/v1/tools/adder").problem(404, "not-found");
    call(&server, "adder", "add", &json!({"a": 2, "b": 3})).problem(404, "not-found");
    server.send(Call::new("DELETE", "/v1/tools/adder")).problem(404, "not-found");
}

#[test]
fn versions_are_kept_and_gone_back_to() {
    let server = Server::shared();
    let first = put(&server, "versioned", add(0)).expect(201);
    let second = put(&server, "versioned", add(10)).expect(200);
    assert_ne!(first["version"], second["version"]);
    let sum = || call(&server, "versioned", "add", &json!({"a": 1, "b": 1})).expect(200)["result"].clone();
    assert_eq!(sum(), 12);
    let rollback = |body: Value| server.post("/v1/tools/versioned/rollback", &body);
    assert_eq!(rollback(json!({})).expect(200)["version"], first["version"]);
    assert_eq!(sum(), 2);
    rollback(json!({})).problem(404, "not-found");
    assert_eq!(rollback(json!({"version": second["version"]})).expect(200)["number"], 2);
    assert_eq!(sum(), 12);
    assert_eq!(rollback(json!({"version": 1})).expect(200)["version"], first["version"]);
    rollback(json!({"version": "sha256:00"})).problem(404, "not-found");
    assert_eq!(rollback(json!({"versoin": 1})).status, 400);
    delete(&server, "versioned");
}

#[test]
fn names_that_clash_are_refused() {
    let server = Server::shared();
    put(&server, "clash", numbers()).expect(201);
    let detail = put(&server, "clash-one", add(0)).problem(409, "conflict");
    assert!(detail.contains("clash-one") && detail.contains("\"clash\""), "{detail}");
    server.get("/v1/tools/clash-one").problem(404, "not-found");
    delete(&server, "clash");
    put(&server, "clash-one", add(0)).expect(201);
    delete(&server, "clash-one");
    for name in ["A", "a_b", "a%20b", "-a", "a-", &"x".repeat(65)] {
        put(&server, name, add(0)).problem(422, "invalid-request");
    }
}

#[test]
fn grants_are_read_intersected_and_shown() {
    let policy = "version: '1.0'\nnetwork:\n  allow: [{host: '*.example.com'}]\nkeyvalue: {allow: false}\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, policy).unwrap();
    let server = Server::with(Setup::default().env("COFFERDAM_POLICY", path.display()));
    let form = |parts: &[(&str, &str)]| {
        let mut body = Vec::new();
        for (name, text) in parts {
            body.extend(format!("--x\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n").bytes());
        }
        body.extend(b"--x\r\ncontent-disposition: form-data; name=\"component\"\r\n\r\n");
        body.extend(add(0));
        body.extend(b"\r\n--x--\r\n");
        server.send(Call::new("PUT", "/v1/tools/granted").body(body, "multipart/form-data; boundary=x"))
    };
    let grants = json!({"http": [{"host": "api.example.com"}, {"host": "other.org"}], "keyvalue": {}}).to_string();
    let made = form(&[("grants", &grants)]).expect(201);
    assert_eq!(made["grants"], json!({"http": [{"host": "api.example.com"}]}), "{made:#}");
    let limited: Vec<&str> =
        made["limited_by"].as_array().unwrap().iter().map(|l| l["grant"].as_str().unwrap()).collect();
    assert_eq!(limited, ["http[1].host", "keyvalue"]);
    let yaml = "version: '1.0'\npermissions:\n  network: {allow: [{host: a.example.com}]}\n  resources: {limits: {memory: 16Mi}}\n";
    let made = form(&[("policy", yaml)]).expect(200);
    assert_eq!(made["limits"]["memory_bytes"], 16 << 20);
    for (parts, status, kind, part) in [
        (vec![("grants", "{\"http\":[{\"hots\":\"x\"}]}")], 400, "malformed-request", "grants.http[0].hots"),
        (vec![("grants", "{\"http\":[{\"host\":\"*\"}]}")], 422, "invalid-request", "grants.http[0].host"),
        (vec![("policy", "version: '1.0'\npermisions: {}")], 422, "invalid-request", "line 2"),
        (vec![("policy", yaml), ("grants", "{}")], 422, "invalid-request", "not both"),
        (vec![("other", "x")], 400, "malformed-request", "form"),
    ] {
        let detail = form(&parts).problem(status, kind);
        assert!(detail.contains(part), "{parts:?}: {detail}");
    }
    let detail = server.send(Call::new("PUT", "/v1/tools/granted").json(&json!({"oci": "registry.example/x:1"})));
    let detail = detail.problem(403, "denied-by-policy");
    assert!(detail.contains("registry.example"), "{detail}");
}

#[test]
fn scopes_are_kept() {
    let server = Server::shared();
    put(&server, "scoped", add(0)).expect(201);
    let deploy = || Call::new("PUT", "/v1/tools/scoped").body(add(1), "application/wasm");
    let run = || Call::new("POST", "/v1/tools/scoped/functions/add").json(&json!({"a": 1, "b": 1}));
    let show = || Call::new("GET", "/v1/tools/scoped");
    for (scope, expected) in [("read", [403, 403, 200]), ("run", [403, 200, 200]), ("deploy", [200, 403, 200])] {
        let key = server.new_key(&[scope]);
        let got = [deploy(), run(), show()].map(|call| server.send(call.header("x-api-key", &key)).status);
        assert_eq!(got, expected, "{scope}");
    }
    delete(&server, "scoped");
}
