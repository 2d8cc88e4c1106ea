//! An API over a fake worker: a server on a Unix socket that speaks the worker's wire and does what the code says.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

pub mod fake_tools;
pub mod fake_worker;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use cofferdam_controller::config::{Config, Flags};
use cofferdam_controller::services::{App, Controller, Parts};
use cofferdam_controller::store::Store;
use cofferdam_controller::workers::{Registry, ToolWorker, ToolWorkers, Worker};
use cofferdam_controller::{api, auth, server};
use fake_tools::FakeTools;
use fake_worker::FakeWorker;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Runs this test once more in a process of its own, where nobody else's memory is counted: false there.
pub fn alone(test: &str) -> bool {
    const ALONE: &str = "COFFERDAM_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return false;
    }
    let mut program = std::process::Command::new(std::env::current_exe().unwrap());
    let output = program.args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    eprint!("{text}");
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    true
}

pub const ADMIN: &str = "an-admin-key-for-tests";

pub struct TestApp {
    pub app: App,
    pub base: String,
    pub workers: Vec<FakeWorker>,
    pub client: Client<HttpConnector, Body>,
    pub document: Value,
    pub folder: TempDir,
    stop: CancellationToken,
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Asserts that this is a problem document of that status and kind.
    pub fn problem(&self, status: u16, kind: &str) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "{text}");
        assert_eq!(self.headers["content-type"], "application/problem+json", "{text}");
        let problem = self.json();
        assert_eq!(problem["type"], format!("https://cofferdam.dev/problems/{kind}"), "{text}");
        problem
    }
}

impl TestApp {
    pub async fn new() -> Self {
        Self::with(1, &[]).await
    }

    /// Over fake workers on this machine, with these settings.
    pub async fn with(workers: usize, env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fakes: Vec<FakeWorker> = (0..workers).map(|n| FakeWorker::start(folder.path(), n)).collect();
        let mut known = Vec::new();
        for fake in &fakes {
            let worker = fake.worker();
            worker.set_health(Some(worker.ping(Duration::from_secs(3)).await.unwrap()));
            known.push(worker);
        }
        Self::serve(folder, env, (known, vec![]), fakes).await
    }

    /// Over workers that are known already.
    pub async fn over(known: Vec<Arc<Worker>>) -> Self {
        Self::serve(tempfile::tempdir().unwrap(), &[], (known, vec![]), vec![]).await
    }

    /// Over a fake worker of tools, with these settings.
    pub async fn with_tools(tools: &FakeTools, env: &[(&str, &str)]) -> Self {
        Self::serve(tempfile::tempdir().unwrap(), env, (vec![], vec![tools.worker().await]), vec![]).await
    }

    async fn serve(
        folder: TempDir,
        env: &[(&str, &str)],
        known: (Vec<Arc<Worker>>, Vec<Arc<ToolWorker>>),
        workers: Vec<FakeWorker>,
    ) -> Self {
        let (known, tools) = known;
        let env: Vec<(String, String)> = env.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let look = move |name: &str| match name {
            "COFFERDAM_API_KEY" => Some(ADMIN.to_owned()),
            other => env.iter().find(|(k, _)| k == other).map(|(_, v)| v.clone()),
        };
        let flags = Flags { data_dir: Some(folder.path().to_owned()), ..Flags::default() };
        let config = Config::parse(&flags, &look, None).unwrap();
        let store = Store::open(&config.database).await.unwrap();
        auth::accept_serve_key(config.api_key.as_ref(), folder.path(), &store).await.unwrap();
        let (snippets, tools) = (Registry::new(known), ToolWorkers::new(tools));
        let parts = Parts { workers: snippets, tool_workers: tools, ..Parts::new(config, store) };
        let app = Controller::new(parts).await.unwrap();
        let (router, document) = api::router(&app);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(server::accept(listener, router, stop.clone(), Duration::from_secs(1)));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { app, base, workers, client, document: serde_json::to_value(document).unwrap(), folder, stop }
    }

    /// Another controller over the same database and the same worker of tools.
    pub async fn beside(&self, tools: &FakeTools) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite://{}", self.folder.path().join("cofferdam.db").display());
        let blobs = folder.path().join("blobs");
        std::os::unix::fs::symlink(self.folder.path().join("blobs"), blobs).unwrap();
        let known = (vec![], vec![tools.worker().await]);
        Self::serve(folder, &[("DATABASE_URL", &database)], known, vec![]).await
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.client.request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: head.status, headers: head.headers, body }
    }

    pub fn request(&self, key: &str, method: &str, path: &str) -> http::request::Builder {
        let builder = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if key.is_empty() { builder } else { builder.header("x-api-key", key) }
    }

    /// A call without a body, or with a JSON one.
    pub async fn call(&self, key: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let builder = self.request(key, method, path);
        let request = match body {
            Some(body) => builder.header("content-type", "application/json").body(Body::from(body.to_string())),
            None => builder.body(Body::empty()),
        };
        self.send(request.unwrap()).await
    }

    pub async fn run(&self, key: &str, code: &str) -> Answer {
        self.call(key, "POST", "/v1/runs", Some(json!({"language": "python", "code": code}))).await
    }

    /// A new key with these scopes.
    pub async fn key(&self, scopes: &[&str]) -> String {
        let answer = self.call(ADMIN, "POST", "/v1/keys", Some(json!({"name": "test", "scopes": scopes}))).await;
        assert_eq!(answer.status, 201);
        answer.json()["key"].as_str().unwrap().to_owned()
    }

    pub async fn session(&self, key: &str) -> String {
        let answer = self.call(key, "POST", "/v1/sessions", Some(json!({"language": "python"}))).await;
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()["id"].as_str().unwrap().to_owned()
    }
}

/// Waits until `what` is true, at most a few seconds.
pub async fn eventually(what: impl Fn() -> bool) {
    for _ in 0..300 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not become true");
}
