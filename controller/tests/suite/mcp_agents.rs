//! Agents as MCP's tools, over agents that a test scripts; and the official client in Python.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use cofferdam_contract::work::{InvokeRequest, TaskInfo};
use cofferdam_contract::{AgentId, OrganizationId, Problem, TaskId, ThreadId};
use cofferdam_controller::World;
use cofferdam_core::Caller;
use cofferdam_mcp::{ActiveAgents, AgentTool, Agents, Failed, Running, Step};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::support::{ADMIN, Answer, TestApp, eventually};

/// Agents that answer what they are asked; one named `slow` never does.
#[derive(Default)]
struct Scripted {
    revision: AtomicU64,
    asked: Mutex<Vec<(String, InvokeRequest)>>,
    stopped: Arc<AtomicUsize>,
}

fn info(agent: &AgentId, thread: &ThreadId, text: &str) -> TaskInfo {
    serde_json::from_value(json!({
        "id": "task_1", "agent_id": agent, "organization_id": "default", "thread_id": thread, "input": text,
        "status": if text == "fail" { "failed" } else { "completed" }, "agent_version": "1",
        "detail": if text == "fail" { json!("a limit") } else { Value::Null },
        "result": format!("you said {text}"), "created_at": "2026-01-01T00:00:00.000Z", "started_at": null, "paused_at": null,
        "finished_at": null, "updated_at": "2026-01-01T00:00:00.000Z", "parent_execution": null, "title": null, "source": "mcp",
        "tokens": { "prompt_tokens": 1, "completion_tokens": 1 }, "steps": 1, "duration": 0.1, "execution_attempts": 1, "priority": 0,
    }))
    .unwrap()
}

impl Agents for Scripted {
    fn active<'a>(&'a self, organization: &'a OrganizationId) -> BoxFuture<'a, Result<ActiveAgents, Failed>> {
        let revision = self.revision.load(Ordering::Relaxed);
        let mut agents = Vec::new();
        if organization.as_str() == "default" {
            let mut ids = vec!["helper".to_owned(), "slow".to_owned()];
            ids.extend((0..120).map(|n| format!("x{n:03}")));
            agents.extend(ids.into_iter().map(|id| AgentTool {
                name: id.clone(),
                id: AgentId::parse(&id).unwrap(),
                description: "Helps.".to_owned(),
            }));
        }
        Box::pin(async move { Ok(ActiveAgents { revision, agents: agents.into() }) })
    }

    fn ask<'a>(
        &'a self,
        _: &'a Caller,
        agent: &'a AgentId,
        request: InvokeRequest,
    ) -> BoxFuture<'a, Result<Running, Failed>> {
        self.asked.lock().push((agent.to_string(), request.clone()));
        Box::pin(async move {
            if agent.as_str() == "nobody" {
                return Err(Box::new(Problem::not_found("There is no active agent.")) as Failed);
            }
            let thread = ThreadId::parse(request.thread.as_deref().unwrap_or("thread_new")).unwrap();
            let end = Step::End(Box::new(info(agent, &thread, &request.input.text)));
            let steps = match agent.as_str() {
                "slow" => stream::iter([Step::Word("thinking".to_owned())]).chain(stream::pending()).boxed(),
                _ => stream::iter([Step::Word("thinking".to_owned()), Step::Word("calling x".to_owned()), end]).boxed(),
            };
            let stopped = Arc::clone(&self.stopped);
            let stop = Box::pin(async move {
                stopped.fetch_add(1, Ordering::SeqCst);
            });
            Ok(Running { task: TaskId::parse("task_1").unwrap(), thread, steps, stop })
        })
    }
}

async fn app() -> (TestApp, Arc<Scripted>) {
    let agents = Arc::new(Scripted::default());
    let world = World { agents: Some(Arc::clone(&agents) as Arc<dyn Agents>), ..World::default() };
    (TestApp::within(world, &[]).await, agents)
}

async fn post(app: &TestApp, key: &str, client: Option<&str>, message: Value) -> Answer {
    let mut request = app.request(key, "POST", "/mcp").header("content-type", "application/json");
    request = request.header("accept", "application/json, text/event-stream");
    if let Some(client) = client {
        request = request.header("mcp-session-id", client);
    }
    app.send(request.body(Body::from(message.to_string())).unwrap()).await
}

fn call(name: &str, arguments: Value) -> Value {
    let params = json!({ "name": name, "arguments": arguments, "_meta": { "dev.cofferdam/idempotency-key": "k1" } });
    json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params })
}

async fn names(app: &TestApp, key: &str) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), Value::Null);
    for _ in 0..20 {
        let params = if cursor.is_null() { json!({}) } else { json!({ "cursor": cursor }) };
        let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params });
        let answer = post(app, key, None, list).await.json();
        let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("{answer}"));
        all.extend(tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()));
        cursor = answer["result"]["nextCursor"].clone();
        if cursor.is_null() {
            return all;
        }
    }
    panic!("the list does not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_sees_what_it_may_call() {
    let (app, agents) = app().await;
    let (run, invoke, read) = (app.key(&["run"]).await, app.key(&["invoke"]).await, app.key(&["read"]).await);
    let all = names(&app, ADMIN).await;
    assert_eq!((all.len(), &all[0], &all[1]), (123, &"run_code".to_owned(), &"ask_helper".to_owned()));
    let unique: std::collections::BTreeSet<&String> = all.iter().collect();
    assert_eq!(unique.len(), all.len());
    assert_eq!(names(&app, &run).await.len(), 123, "`run` covers `invoke`");
    assert_eq!(names(&app, &invoke).await.len(), 122);
    assert_eq!(post(&app, &read, None, call("ask_helper", json!({ "input": "x" }))).await.status, 403);
    let refused = post(&app, &invoke, None, call("run_code", json!({ "code": "1", "language": "python" }))).await;
    let why = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(why.contains("needs a key with the scope"), "{why}");
    assert!(agents.asked.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_answers_and_its_thread_goes_on() {
    let (app, agents) = app().await;
    let invoke = app.key(&["invoke"]).await;
    let answer = post(&app, &invoke, None, call("ask_helper", json!({ "input": "hello" }))).await.json();
    let result = &answer["result"];
    assert_eq!(result["content"][0]["text"], "you said hello", "{answer}");
    let structured =
        json!({ "task": "task_1", "thread": "thread_new", "status": "completed", "result": "you said hello" });
    assert_eq!(result["structuredContent"], structured);
    let again = json!({ "input": "fail", "thread": "thread_new" });
    let answer = post(&app, &invoke, None, call("ask_helper", again)).await.json();
    assert_eq!(
        (&answer["result"]["isError"], &answer["result"]["content"][0]["text"]),
        (&json!(true), &json!("The task is failed. a limit"))
    );
    let asked = agents.asked.lock().clone();
    assert_eq!(asked[1].1.thread.as_deref(), Some("thread_new"));
    assert_eq!(asked[0].1.idempotency_key.as_deref(), Some("mcp:k1"));
    for (name, arguments) in [
        ("ask_helper", json!({})),
        ("ask_helper", json!({ "input": 1 })),
        ("ask_", json!({ "input": "x" })),
        ("ask_A/b", json!({ "input": "x" })),
    ] {
        assert!(post(&app, &invoke, None, call(name, arguments)).await.json()["error"].is_object(), "{name}");
    }
    let missing = post(&app, &invoke, None, call("ask_nobody", json!({ "input": "x" }))).await.json();
    assert_eq!(missing["result"]["isError"], true, "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cancels_stops_the_task_and_who_goes_away_does_not() {
    let (app, agents) = app().await;
    let app = Arc::new(app);
    let hello =
        json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello });
    let client = post(&app, ADMIN, None, hello).await.headers["mcp-session-id"].to_str().unwrap().to_owned();
    let (calling, name) = (Arc::clone(&app), client.clone());
    let waiting =
        tokio::spawn(
            async move { post(&calling, ADMIN, Some(&name), call("ask_slow", json!({ "input": "x" }))).await },
        );
    eventually(|| agents.asked.lock().len() == 1).await;
    waiting.abort();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(agents.stopped.load(Ordering::SeqCst), 0, "a client that is gone stops nothing");
    let (calling, name) = (Arc::clone(&app), client.clone());
    let waiting =
        tokio::spawn(
            async move { post(&calling, ADMIN, Some(&name), call("ask_slow", json!({ "input": "x" }))).await },
        );
    eventually(|| agents.asked.lock().len() == 2).await;
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 7 } });
    assert_eq!(post(&app, ADMIN, Some(&client), cancel).await.status, 202);
    assert_eq!(waiting.await.unwrap().json()["error"]["message"], "cancelled");
    assert_eq!(agents.stopped.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_hear_when_agents_change() {
    let (app, agents) = app().await;
    let request = app.request(ADMIN, "GET", "/mcp").header("accept", "text/event-stream").body(Body::empty()).unwrap();
    let mut body = app.client.request(request).await.unwrap().into_body();
    tokio::time::sleep(Duration::from_millis(300)).await;
    agents.revision.fetch_add(1, Ordering::Relaxed);
    let heard = tokio::time::timeout(Duration::from_secs(5), body.frame()).await.unwrap().unwrap().unwrap();
    assert!(String::from_utf8_lossy(heard.data_ref().unwrap()).contains("list_changed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_asks_an_agent() {
    let Ok(python) = std::env::var("COFFERDAM_TEST_MCP") else {
        println!("SKIPPED: COFFERDAM_TEST_MCP names no Python with the MCP SDK");
        return;
    };
    let (app, agents) = app().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/mcp_agents.py");
    let done = tokio::process::Command::new(python)
        .args([script, &format!("{}/mcp", app.base), ADMIN])
        .kill_on_drop(true)
        .output();
    let done = tokio::time::timeout(Duration::from_secs(60), done).await.unwrap().unwrap();
    assert!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    assert_eq!(agents.asked.lock().last().unwrap().1.thread.as_deref(), Some("thread_new"));
}
