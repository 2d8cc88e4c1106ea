//! A fake tool worker that speaks the wire of one on another machine. It runs nothing: a "component" is a JSON text
//! with the names of its functions (`functions`), their result (`n`), and a flag that holds its compilation until the
//! test releases it (`held`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use bytes::Bytes;
use cofferdam_contract::tool::{ExportPath, ToolFunction};
use cofferdam_contract::worker::ToolsHealth;
use cofferdam_contract::{Component, Problem, Status, ToolCall, ToolOutcome, Usage};
use cofferdam_core::Secret;
use cofferdam_workers::{RemoteWorker, ToolWorker, Watched};
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

pub struct Seen {
    /// Components by digest.
    pub components: Mutex<BTreeMap<String, Bytes>>,
    /// The calls, as tool and digest.
    pub calls: Mutex<Vec<(String, String)>>,
    /// Waiting compilations.
    pub waiting: AtomicUsize,
    pub cancelled: AtomicUsize,
    gate: Semaphore,
}

#[derive(Clone)]
pub struct FakeTools {
    pub seen: Arc<Seen>,
    authority: String,
}

#[derive(Deserialize)]
struct Text {
    functions: Vec<String>,
    n: Value,
    #[serde(default)]
    held: bool,
    #[serde(default)]
    traps: bool,
    #[serde(default)]
    imports: Vec<String>,
}

/// A component with these functions, each of which returns `n`.
pub fn component(functions: &[&str], n: u32) -> Vec<u8> {
    json!({"functions": functions, "n": n}).to_string().into_bytes()
}

/// The same, but its compilation waits until it is released.
pub fn held(functions: &[&str], n: u32) -> Vec<u8> {
    json!({"functions": functions, "n": n, "held": true}).to_string().into_bytes()
}

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

impl FakeTools {
    pub async fn start() -> Self {
        let seen = Arc::new(Seen {
            components: Mutex::default(),
            calls: Mutex::default(),
            waiting: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
            gate: Semaphore::new(0),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let health = || async { Json(ToolsHealth { calls_active: 0, calls_waiting: 0, components: 0, uplinks: 0 }) };
        let router = Router::new()
            .route("/tools/health", get(health))
            .route("/tools/calls", post(call))
            .route("/tools/components/{digest}", put(compile))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&seen));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { seen, authority }
    }

    pub async fn worker(&self) -> Arc<ToolWorker> {
        let remote = RemoteWorker { authority: self.authority.clone() };
        let worker = ToolWorker::remote(&remote, Some(&Secret::new("hush"))).unwrap();
        worker.check(Duration::from_secs(3)).await.unwrap();
        worker
    }

    /// Releases one compilation, waiting or future.
    pub fn release(&self) {
        self.seen.gate.add_permits(1);
    }
}

fn refuse(problem: Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap();
    (status, [("content-type", "application/problem+json")], serde_json::to_vec(&problem).unwrap()).into_response()
}

fn function(name: &str) -> ToolFunction {
    ToolFunction {
        name: name.to_owned(),
        description: String::new(),
        input_schema: json!({"type": "object"}),
        output_schema: json!({}),
        export: ExportPath { interface: None, function: name.to_owned() },
        examples: vec![],
        read_only: None,
        destructive: None,
        idempotent: None,
    }
}

async fn compile(State(seen): State<Arc<Seen>>, Path(named): Path<String>, body: Bytes) -> Response {
    assert_eq!(digest(&body), named);
    let Ok(text) = serde_json::from_slice::<Text>(&body) else {
        return refuse(Problem::bad_component("It is no component."));
    };
    if text.held {
        seen.waiting.fetch_add(1, Ordering::SeqCst);
        seen.gate.acquire().await.unwrap().forget();
        seen.waiting.fetch_sub(1, Ordering::SeqCst);
    }
    seen.components.lock().unwrap().insert(named.clone(), body.clone());
    let functions = text.functions.iter().map(|name| function(name)).collect();
    let (size_bytes, warnings) = (body.len() as u64, vec![]);
    Json(Component { digest: named, size_bytes, functions, imports: text.imports, warnings, describe: None })
        .into_response()
}

struct Cancelled(Arc<Seen>, bool);

impl Drop for Cancelled {
    fn drop(&mut self) {
        if self.1 {
            self.0.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn call(State(seen): State<Arc<Seen>>, Json(call): Json<ToolCall>) -> Response {
    let found = seen.components.lock().unwrap().get(&call.digest).cloned();
    let Some(bytes) = found else { return refuse(Problem::component_missing("not here")) };
    let text: Text = serde_json::from_slice(&bytes).unwrap();
    seen.calls.lock().unwrap().push((call.tool.clone(), call.digest.clone()));
    let mut outcome = ToolOutcome {
        id: call.id,
        status: if text.traps { Status::Error } else { Status::Ok },
        result: Some(RawValue::from_string(text.n.to_string()).unwrap()),
        error: None,
        logs: String::new(),
        usage: Usage::default(),
    };
    match call.export.as_ref().map(|export| export.function.as_str()) {
        None => outcome.result = None,
        Some("slow") => {
            let mut cancelled = Cancelled(Arc::clone(&seen), true);
            tokio::time::sleep(Duration::from_secs(20)).await;
            cancelled.1 = false;
        }
        Some(_) => {}
    }
    Json(outcome).into_response()
}
