//! An API over a fake worker: a server on a Unix socket that speaks the worker's wire and obeys the snippet's text.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use cofferdam_controller::config::{Config, Flags};
use cofferdam_controller::{Controller, Machines, World, server};
use cofferdam_core::Vault;
use cofferdam_identity::accept_serve_key;
use cofferdam_store::Store;
pub(crate) use cofferdam_testkit::alone::alone;
pub(crate) use cofferdam_testkit::eventually;
use cofferdam_testkit::tools::FakeTools;
use cofferdam_testkit::worker::FakeWorker;
use cofferdam_workers::{ToolWorker, Worker};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub(crate) const ADMIN: &str = "an-admin-key-for-these-tests";

pub(crate) struct TestApp {
    pub app: Arc<Controller>,
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

pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Asserts that this is a problem document of that status and kind.
    pub(crate) fn problem(&self, status: u16, kind: &str) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "{text}");
        assert_eq!(self.headers["content-type"], "application/problem+json", "{text}");
        let problem = self.json();
        assert_eq!(problem["type"], format!("https://cofferdam.dev/problems/{kind}"), "{text}");
        problem
    }
}

impl TestApp {
    pub(crate) async fn new() -> Self {
        Self::with(1, &[]).await
    }

    /// Over fake workers on this machine, with these settings.
    pub(crate) async fn with(workers: usize, env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fakes: Vec<FakeWorker> = (0..workers).map(|n| FakeWorker::start(folder.path(), n)).collect();
        let mut known = Vec::new();
        for fake in &fakes {
            let worker = fake.worker();
            worker.set_health(Some(worker.ping(Duration::from_secs(3)).await.unwrap()));
            known.push(worker);
        }
        Self::serve(folder, env, (known, vec![]), fakes, World::default()).await
    }

    /// Without workers, with the test's own world.
    pub(crate) async fn within(world: World, env: &[(&str, &str)]) -> Self {
        Self::serve(tempfile::tempdir().unwrap(), env, (vec![], vec![]), vec![], world).await
    }

    /// Over the given workers.
    pub(crate) async fn over(known: Vec<Arc<Worker>>) -> Self {
        Self::serve(tempfile::tempdir().unwrap(), &[], (known, vec![]), vec![], World::default()).await
    }

    /// Over a fake tool worker, with these settings.
    pub(crate) async fn with_tools(tools: &FakeTools, env: &[(&str, &str)]) -> Self {
        Self::serve(tempfile::tempdir().unwrap(), env, (vec![], vec![tools.worker().await]), vec![], World::default())
            .await
    }

    /// Without workers, with a configuration file.
    pub(crate) async fn with_file(file: &str, env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::serve_file(folder, env, (vec![], vec![]), vec![], World::default(), Some(file)).await
    }

    async fn serve(
        folder: TempDir,
        env: &[(&str, &str)],
        known: (Vec<Arc<Worker>>, Vec<Arc<ToolWorker>>),
        workers: Vec<FakeWorker>,
        world: World,
    ) -> Self {
        Self::serve_file(folder, env, known, workers, world, None).await
    }

    async fn serve_file(
        folder: TempDir,
        env: &[(&str, &str)],
        known: (Vec<Arc<Worker>>, Vec<Arc<ToolWorker>>),
        workers: Vec<FakeWorker>,
        world: World,
        file: Option<&str>,
    ) -> Self {
        let (known, tools) = known;
        let env: Vec<(String, String)> = env.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let given = move |name: &str| env.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
        let look = move |name: &str| match name {
            "COFFERDAM_API_KEY" => given(name).or_else(|| Some(ADMIN.to_owned())),
            other => given(other),
        };
        let flags = Flags { data_dir: Some(folder.path().to_owned()), ..Flags::default() };
        let config = Config::parse(&flags, &look, file).unwrap();
        let store = Store::open(&config.database).await.unwrap();
        accept_serve_key(config.api_key.as_ref(), folder.path(), &store).await.unwrap();
        let machines = Machines { workers: known, tools, ..Machines::default() };
        let app = Arc::new(Controller::new(config, store, machines, world).await.unwrap());
        let (router, document) = app.router();
        let stop = CancellationToken::new();
        tokio::spawn(Arc::clone(&app.keyring).keep_fresh(stop.clone()));
        tokio::spawn(Arc::clone(&app.run_tokens).keep(stop.clone()));
        tokio::spawn(app.cache.clone().keep(stop.clone()));
        tokio::spawn(Arc::clone(app.models.settings()).keep(stop.clone()));
        tokio::spawn(Arc::clone(app.models.accounts()).keep(stop.clone()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(server::accept(listener, router, stop.clone(), Duration::from_secs(1)));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { app, base, workers, client, document: serde_json::to_value(document).unwrap(), folder, stop }
    }

    /// Opens this controller's vault again.
    pub(crate) fn vault(&self) -> Vault {
        Vault::open(None, self.folder.path()).unwrap()
    }

    /// Another controller over the same database and the same tool worker.
    pub(crate) async fn beside(&self, tools: &FakeTools) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite://{}", self.folder.path().join("cofferdam.db").display());
        let blobs = folder.path().join("blobs");
        std::os::unix::fs::symlink(self.folder.path().join("blobs"), blobs).unwrap();
        let known = (vec![], vec![tools.worker().await]);
        Self::serve(folder, &[("DATABASE_URL", &database)], known, vec![], World::default()).await
    }

    /// Another controller over the same database, without workers.
    pub(crate) async fn another(&self, env: &[(&str, &str)]) -> Self {
        self.another_over(vec![], env).await
    }

    /// Another controller over the same database, with these workers.
    pub(crate) async fn another_over(&self, known: Vec<Arc<Worker>>, env: &[(&str, &str)]) -> Self {
        let database = format!("sqlite://{}", self.folder.path().join("cofferdam.db").display());
        let key = std::fs::read_to_string(self.folder.path().join("encryption.key")).unwrap();
        let shared = [("DATABASE_URL", database.as_str()), ("COFFERDAM_ENCRYPTION_KEY", key.trim())];
        let env: Vec<(&str, &str)> = shared.into_iter().chain(env.iter().copied()).collect();
        Self::serve(tempfile::tempdir().unwrap(), &env, (known, vec![]), vec![], World::default()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.client.request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: head.status, headers: head.headers, body }
    }

    pub(crate) fn request(&self, key: &str, method: &str, path: &str) -> http::request::Builder {
        let builder = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if key.is_empty() { builder } else { builder.header("x-api-key", key) }
    }

    /// A call without a body, or with a JSON one.
    pub(crate) async fn call(&self, key: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let builder = self.request(key, method, path);
        let request = match body {
            Some(body) => builder.header("content-type", "application/json").body(Body::from(body.to_string())),
            None => builder.body(Body::empty()),
        };
        self.send(request.unwrap()).await
    }

    pub(crate) async fn run(&self, key: &str, code: &str) -> Answer {
        self.call(key, "POST", "/v1/runs", Some(json!({"language": "python", "code": code}))).await
    }

    /// A new key with these scopes.
    pub(crate) async fn key(&self, scopes: &[&str]) -> String {
        let answer = self.call(ADMIN, "POST", "/v1/keys", Some(json!({"name": "test", "scopes": scopes}))).await;
        assert_eq!(answer.status, 201);
        answer.json()["key"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn session(&self, key: &str) -> String {
        let answer = self.call(key, "POST", "/v1/sessions", Some(json!({"language": "python"}))).await;
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()["id"].as_str().unwrap().to_owned()
    }
}
