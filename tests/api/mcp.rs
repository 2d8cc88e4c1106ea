//! MCP on the wire: JSON-RPC over streamable HTTP, without sessions.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Answer, Call, Server};

fn post(server: &Server, body: &Value) -> Answer {
    let call = Call::new("POST", "/mcp").json(body).header("accept", "application/json, text/event-stream");
    server.send(call.header("mcp-protocol-version", "2025-06-18"))
}

#[track_caller]
fn ask(server: &Server, method: &str, params: Value) -> Value {
    let answer = post(server, &json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}));
    let message = if answer.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")) {
        let text = answer.text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data:")).next_back().unwrap_or_default();
        serde_json::from_str(data).unwrap_or_else(|e| panic!("{e}: {text}"))
    } else {
        answer.expect(200)
    };
    assert_eq!((&message["jsonrpc"], &message["id"]), (&json!("2.0"), &json!(7)), "{message:#}");
    message
}

fn adder() -> Vec<u8> {
    wat::parse_str(
        r#"(component
          (core module $m (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
          (core instance $i (instantiate $m))
          (func (export "add") (param "a" s32) (param "b" s32) (result s32) (canon lift (core func $i "add"))))"#,
    )
    .unwrap()
}

fn deploy(server: &Server, name: &str) {
    let call = Call::new("PUT", format!("/v1/tools/{name}")).body(adder(), "application/wasm");
    server.send(call).expect(201);
}

fn names(server: &Server) -> Vec<String> {
    let mut names = Vec::new();
    let mut params = json!({});
    loop {
        let result = ask(server, "tools/list", params)["result"].clone();
        names.extend(result["tools"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()));
        match result.get("nextCursor").and_then(Value::as_str) {
            Some(cursor) => params = json!({ "cursor": cursor }),
            None => return names,
        }
    }
}

#[test]
fn a_client_is_greeted_and_sees_what_there_is() {
    let server = Server::shared();
    let hello =
        json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let greeted = ask(&server, "initialize", hello)["result"].clone();
    assert_eq!(greeted["serverInfo"]["name"], "cofferdam", "{greeted:#}");
    assert_eq!(greeted["capabilities"]["tools"]["listChanged"], true);
    let said = post(&server, &json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    assert_eq!(said.status, 202);
    ask(&server, "ping", json!({}))["result"].as_object().unwrap();
    deploy(&server, "mcp-list");
    let seen = names(&server);
    assert_eq!(seen[0], "run_code");
    assert!(seen.contains(&"mcp-list".to_owned()), "{seen:?}");
    server.send(Call::new("DELETE", "/v1/tools/mcp-list"));
    assert!(!names(&server).contains(&"mcp-list".to_owned()));
}

#[test]
fn tools_are_called() {
    let server = Server::shared();
    deploy(&server, "mcp-add");
    let call = |name: &str, arguments: Value| ask(&server, "tools/call", json!({"name": name, "arguments": arguments}));
    let result = call("mcp-add", json!({"a": 2, "b": 3}))["result"].clone();
    assert_eq!(result["structuredContent"], json!({"result": 5}), "{result:#}");
    assert_eq!(result["content"][0], json!({"type": "text", "text": "5"}));
    let wrong = call("mcp-add", json!({"a": 2, "b": "x"}))["result"].clone();
    assert_eq!(wrong["isError"], true);
    assert!(wrong["content"][0]["text"].as_str().unwrap().contains("arguments.b"), "{wrong:#}");
    assert_eq!(call("mcp-sub", json!({}))["error"]["code"], -32602);
    server.send(Call::new("DELETE", "/v1/tools/mcp-add"));
}

#[test]
fn code_runs_and_figures_are_images() {
    let server = Server::shared();
    let run = |arguments: Value| {
        ask(&server, "tools/call", json!({"name": "run_code", "arguments": arguments}))["result"].clone()
    };
    let said = run(json!({"language": "javascript", "code": "console.log('hi'); 1 + 1"}));
    assert_eq!(said["structuredContent"]["stdout"], "hi\n", "{said:#}");
    assert_eq!(said["content"][0]["text"], "hi\n");
    let raised = run(json!({"language": "javascript", "code": "throw new Error('oh')"}));
    assert_eq!(raised["isError"], true);
    let drawn = run(json!({"language": "python", "code": "import matplotlib.pyplot as p\np.plot([1, 2])\np.show()"}));
    let images: Vec<&Value> = drawn["content"].as_array().unwrap().iter().filter(|c| c["type"] == "image").collect();
    assert_eq!(images.len(), 1, "{:.2000}", drawn.to_string());
    assert_eq!(images[0]["mimeType"], "image/png");
    let first = run(json!({"language": "javascript", "code": "globalThis.x = 41", "session": "new"}));
    let session = first["structuredContent"]["session"].as_str().unwrap();
    let second = run(json!({"language": "javascript", "code": "console.log(x + 1)", "session": session}));
    assert_eq!(second["structuredContent"]["stdout"], "42\n");
    let bad = ask(&server, "tools/call", json!({"name": "run_code", "arguments": {"language": "cobol", "code": ""}}));
    assert!(bad["error"]["message"].as_str().unwrap().contains("arguments.language"), "{bad:#}");
}

#[test]
fn a_change_of_the_list_is_told() {
    let server = Server::shared();
    let listen = Call::new("GET", "/mcp").header("accept", "text/event-stream").header("x-api-key", &server.key);
    let mut stream = listen.open(server.address).unwrap();
    assert_eq!(stream.status, 200);
    std::thread::sleep(Duration::from_millis(1_500));
    deploy(&server, "mcp-told");
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let piece = stream.chunk().unwrap().unwrap();
        if String::from_utf8_lossy(&piece).contains("notifications/tools/list_changed") {
            break;
        }
        assert!(Instant::now() < until, "no notice came");
    }
    server.send(Call::new("DELETE", "/v1/tools/mcp-told"));
}

#[test]
fn a_key_with_the_scope_run_is_wanted() {
    let server = Server::shared();
    let list = || Call::new("POST", "/mcp").json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}));
    let list = || list().header("accept", "application/json, text/event-stream");
    list().send_to(server.address).unwrap().problem(401, "unauthorized");
    let key = server.new_key(&["read"]);
    server.send(list().header("x-api-key", key)).problem(403, "forbidden");
    let key = server.new_key(&["run"]);
    assert_eq!(server.send(list().header("authorization", format!("Bearer {key}"))).status, 200);
}
