//! Definitions of agents that mean harm, and calls for the wrong type of agent: each is refused soon, by name, and changes nothing.

use std::time::{Duration, Instant};

use axum::body::Body;
use serde_json::{Value, json};

use crate::support::{ADMIN, Answer, TestApp};

/// The longest time that one refusal may take on a busy machine.
const SOON: Duration = Duration::from_secs(20);

async fn call(app: &TestApp, method: &str, path: &str, body: Option<Value>) -> Answer {
    app.call(ADMIN, method, path, body).await
}

async fn import(app: &TestApp, text: impl Into<Body>) -> Answer {
    let request = app.request(ADMIN, "POST", "/v1/agents/import").header("content-type", "application/yaml");
    app.send(request.body(text.into()).unwrap()).await
}

/// An app with a serverless agent, `analyst`, and one in containers, `hello`.
async fn both() -> TestApp {
    let app = TestApp::new().await;
    for body in [json!({"id": "analyst", "instructions": "Count."}), json!({"id": "hello", "name": "Hello"})] {
        let made = call(&app, "POST", "/v1/agents", Some(body)).await;
        assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    }
    app
}

async fn ids(app: &TestApp) -> Vec<String> {
    let listed = call(app, "GET", "/v1/agents", None).await.json();
    listed["agents"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_type_refuses_what_belongs_to_the_other() {
    let app = both().await;
    for action in ["upload", "deploy", "start", "stop", "restart", "rollback"] {
        let body = json!({"agent_id": "analyst", "action": action});
        let problem = call(&app, "POST", "/api/deploy-agent", Some(body)).await.problem(409, "conflict");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("serverless") && detail.contains("PUT /v1/agents/analyst"), "{action}: {detail}");
    }
    for (method, path, body) in [
        ("PUT", "/v1/agents/hello", json!({"instructions": "x"})),
        ("PATCH", "/v1/agents/hello", json!({"instructions": "x"})),
        ("POST", "/v1/agents/hello/activate", json!({})),
        ("POST", "/v1/agents/hello/deactivate", json!({})),
    ] {
        let problem = call(&app, method, path, Some(body)).await.problem(409, "conflict");
        assert!(problem["detail"].as_str().unwrap().contains("container"), "{method} {path}: {problem}");
    }
    call(&app, "GET", "/v1/agents/hello/export", None).await.problem(409, "conflict");
    let problem = import(&app, "id: hello\ninstructions: x\n").await.problem(409, "conflict");
    assert!(problem["detail"].as_str().unwrap().contains("container"), "{problem}");
    // One id belongs to one agent, whatever its type.
    call(&app, "POST", "/v1/agents", Some(json!({"id": "analyst"}))).await.problem(409, "conflict");
    call(&app, "POST", "/v1/agents", Some(json!({"id": "hello", "instructions": "x"}))).await.problem(409, "conflict");
    // The container is as it was.
    let hello = call(&app, "GET", "/v1/agents/hello", None).await.json();
    assert_eq!((&hello["type"], hello.get("version")), (&json!("container"), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_checked_before_anything_is_done() {
    let app = TestApp::new().await;
    for (second, part) in [
        ("id: two\nlimits: {steps: 0}\n", "document 2: limits.steps"),
        ("id: two\ncolour: red\n", "document 2: "),
        ("id: one\ninstructions: b\n", "document 2: "),
        ("instructions: nameless\n", "document 2: "),
        ("just text\n", "document 2: "),
        ("id: two\nname: Two\n", "document 2: "),
        ("id: two\nname: \"a\\nb\"\nmodel: m\n", "document 2: name"),
        ("id: two\nnote: \"a\\eb\"\nmodel: m\n", "document 2: note"),
        ("id: two\ntype: container\nmodel: m\n", "document 2: type"),
        ("id: two\ntools: [\"http:evil\"]\n", "document 2: tools[0]"),
        ("id: two\nlimits: {cost_usd: 0.5}\n", "document 2: "),
    ] {
        let answer = import(&app, format!("id: one\ninstructions: a\n---\n{second}")).await;
        assert_eq!(answer.status.as_u16(), 422, "{second}: {}", String::from_utf8_lossy(&answer.body));
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(part), "{second}: {detail}");
        assert!(ids(&app).await.is_empty(), "{second}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_mean_harm_are_refused_soon() {
    let app = TestApp::new().await;
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [before.as_str(); 10].join(", ")));
    }
    let merged = (0..30).fold("b: &b0 {x: 1}\n".to_owned(), |text, level| {
        text + &format!("c{level}: &b{} {{<<: [*b{level}, *b{level}]}}\n", level + 1)
    });
    let big = |begin: &str, piece: &str| begin.to_owned() + &piece.repeat((4 << 20) / piece.len() - 8);
    let texts = [
        bomb,
        merged,
        big("a: ", "["),
        big("", "- "),
        big("", "{a: "),
        big("", "? "),
        big("", "&a "),
        big("", "!!map "),
        big("a: \"", "\\u0000"),
        big("", "---\n"),
        big("a: |\n", " x\n"),
        big("", "%TAG ! tag:x,2000:\n"),
        big("", "'"),
        (0..200_000).map(|number| format!("k{number}: v\n")).collect(),
        "id: a\u{0}b\n".to_owned(),
        "id: a\ninstructions: \"a\\0b\"\n".to_owned(),
        "id: a\nname: \"a\\eb\"\n".to_owned(),
        "id: a\nid: b\n".to_owned(),
    ];
    for text in texts {
        let shown: String = text.chars().take(30).collect();
        let begun = Instant::now();
        let answer = import(&app, text).await;
        assert!(matches!(answer.status.as_u16(), 400 | 413 | 422), "{shown:?}: {}", answer.status);
        assert!(answer.body.len() < 4_096, "{shown:?}: {} bytes", answer.body.len());
        assert!(begun.elapsed() < SOON, "{shown:?}: {:?}", begun.elapsed());
    }
    let over = import(&app, " ".repeat((4 << 20) + 1)).await;
    assert_eq!(over.status, 413, "{}", String::from_utf8_lossy(&over.body));
    assert_eq!(import(&app, vec![0xff, 0xfe, b'a']).await.status, 400);
    assert!(ids(&app).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_found_by_exactly_its_id() {
    let app = both().await;
    for path in
        ["ANALYST", "analyst%00", "analyst%20", "analyst%2f", ".%2e", "analyst%0a", "%F0%9F%A6%80", "a%25", "-analyst"]
    {
        for part in ["", "/versions", "/export", "/diff", "/memories"] {
            let answer = call(&app, "GET", &format!("/v1/agents/{path}{part}"), None).await;
            assert_eq!(answer.status, 404, "{path}{part}");
        }
        for method in ["PUT", "PATCH"] {
            let answer = call(&app, method, &format!("/v1/agents/{path}"), Some(json!({"instructions": "x"}))).await;
            assert!(matches!(answer.status.as_u16(), 404 | 422), "{method} {path}: {}", answer.status);
        }
    }
    for id in ["", "A", "a b", "a/b", "../a", "a\0", "-a", "a-", "é", &"a".repeat(65)] {
        let answer = call(&app, "POST", "/v1/agents", Some(json!({"id": id, "instructions": "x"}))).await;
        // A NUL is refused while the body is read.
        assert_eq!(answer.status, if id.contains('\0') { 400 } else { 422 }, "{id:?}");
    }
    // An address and a body that name two agents are no agent.
    let two = json!({"id": "other", "instructions": "x"});
    call(&app, "PUT", "/v1/agents/analyst", Some(two)).await.problem(422, "invalid-request");
    assert_eq!(ids(&app).await, ["analyst", "hello"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_and_values_out_of_bounds_are_named() {
    let app = TestApp::new().await;
    for (field, value) in [
        ("instruction", json!("x")),
        ("limits", json!({"step": 1})),
        ("limits", json!({"steps": 4_294_967_296_u64})),
        ("tools", json!([{"name": "run_code", "grant": {}}])),
        ("tools", json!(["run_code".repeat(50)])),
        ("status", json!("GONE")),
        ("type", json!("robot")),
        ("instructions", json!("x".repeat((256 << 10) + 1))),
        ("instructions", json!("a\u{0}b")),
        ("description", json!("a\u{1b}b")),
        ("note", json!("a\u{0}b")),
        ("name", json!("a\nb")),
        ("metadata", json!({"k": "\u{0}"})),
        ("revision", json!(-1)),
        ("output_schema", json!({"$ref": "http://169.254.169.254/"})),
    ] {
        let mut body = json!({"id": "a", "model": "m"});
        body[field] = value;
        let answer = call(&app, "POST", "/v1/agents", Some(body)).await;
        assert!(matches!(answer.status.as_u16(), 400 | 422), "{field}: {}", String::from_utf8_lossy(&answer.body));
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        let named = detail.contains(field)
            || detail.contains("step")
            || detail.contains("ToolEntry")
            || detail.contains("4294967296");
        assert!(named && detail.len() < 1_000, "{field}: {detail}");
    }
    assert!(ids(&app).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_makes_the_same_agent_elsewhere() {
    let (here, elsewhere) = (both().await, TestApp::new().await);
    let whole = json!({"name": "Sales: \"analyst\"", "description": "#1", "instructions": "Count.\n\n  yes: no\n---\n", "model": "~",
        "tools": [{"name": "run_code", "limits": {"wall_ms": 5000}, "timeout_s": 30}, "update_plan"],
        "limits": {"steps": 5, "cost_usd": "0.50", "depth": 0},
        "approvals": [{"tool": "run_*", "arguments": {"/code": "*import os*"}, "effect": "ask", "message": "Really?"}],
        "output_schema": {"type": "object", "properties": {"sum": {"type": "number"}}},
        "memory": {"enabled": true, "per_user": true}, "metadata": {"team": "1e3"}});
    let put = call(&here, "PUT", "/v1/agents/analyst", Some(whole)).await;
    assert_eq!(put.status, 200, "{}", String::from_utf8_lossy(&put.body));
    let digest = async |app: &TestApp| {
        let listed = call(app, "GET", "/v1/agents/analyst/versions", None).await.json();
        listed["versions"][0]["digest"].as_str().unwrap().to_owned()
    };
    for (format, outcome) in [("yaml", "made"), ("json", "same")] {
        let exported = call(&here, "GET", &format!("/v1/agents/analyst/export?format={format}"), None).await;
        let text = String::from_utf8(exported.body).unwrap();
        for (app, outcome) in [(&here, "same"), (&elsewhere, outcome)] {
            let imported = import(app, text.clone()).await.json();
            assert_eq!(imported["agents"][0]["outcome"], outcome, "{imported} of {text}");
        }
        assert_eq!(digest(&here).await, digest(&elsewhere).await, "{text}");
    }
}
