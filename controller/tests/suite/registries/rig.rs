//! Manifests, a fake registry with configured answers, and Debian's registry.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::support::{ADMIN, Answer, TestApp};
use cofferdam_testkit::tools::digest;

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const CONFIG: &str = "application/vnd.wasm.config.v0+json";
pub(super) const WASM: &str = "application/wasm";

pub(super) fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()})
}

/// The manifest of a component, in the Wasm OCI artifact layout.
pub(super) fn manifest(component: &[u8]) -> Value {
    let (config, layers) = (descriptor(CONFIG, b"{}"), [descriptor(WASM, component)]);
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
}

pub(super) async fn pull(app: &TestApp, tool: &str, reference: &str) -> Answer {
    app.call(ADMIN, "PUT", &format!("/v1/tools/{tool}"), Some(json!({ "oci": reference }))).await
}

/// The answer to a request, by its method, its path, and the presence of credentials.
pub(super) type Answers = Arc<dyn Fn(&str, &str, Option<&str>) -> Response<Body> + Send + Sync>;

/// A registry on loopback with configured answers.
pub(super) async fn registry(answers: Answers) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let handler = move |request: Request<Body>| {
        let authorization = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let answer = answers(request.method().as_str(), request.uri().path(), authorization.as_deref());
        async move { answer }
    };
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(handler)).await });
    address
}

pub(super) fn reply(status: u16, kind: &str, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).header("content-type", kind).body(body.into()).unwrap()
}

/// Debian's registry with an empty store, and a client that pushes to it.
pub(super) struct DockerRegistry {
    _registry: cofferdam_testkit::DockerRegistry,
    pub host: String,
    client: Client<hyper_util::client::legacy::connect::HttpConnector, Body>,
}

impl DockerRegistry {
    /// `None` if it is not installed.
    pub(super) fn start() -> Option<Self> {
        let registry = cofferdam_testkit::DockerRegistry::start()?;
        let client = Client::builder(TokioExecutor::new()).build_http();
        Some(Self { host: registry.host(), _registry: registry, client })
    }

    async fn send(&self, method: &str, url: &str, kind: &str, body: Bytes) -> Response<Bytes> {
        let request = Request::builder().method(method).uri(url).header("content-type", kind);
        let response = self.client.request(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }

    pub(super) async fn push_blob(&self, repository: &str, bytes: &[u8]) {
        let begin = format!("http://{}/v2/{repository}/blobs/uploads/", self.host);
        let begun = self.send("POST", &begin, "application/octet-stream", Bytes::new()).await;
        assert_eq!(begun.status(), StatusCode::ACCEPTED);
        let place = begun.headers()["location"].to_str().unwrap();
        let sign = if place.contains('?') { '&' } else { '?' };
        let place = format!("{place}{sign}digest={}", digest(bytes));
        let done = self.send("PUT", &place, "application/octet-stream", Bytes::copy_from_slice(bytes)).await;
        assert_eq!(done.status(), StatusCode::CREATED);
    }

    /// Pushes a manifest with its own media type; returns the digest.
    pub(super) async fn push_manifest(&self, repository: &str, reference: &str, manifest: &Value) -> String {
        let (bytes, kind) = (manifest.to_string().into_bytes(), manifest["mediaType"].as_str().unwrap());
        let url = format!("http://{}/v2/{repository}/manifests/{reference}", self.host);
        let done = self.send("PUT", &url, kind, Bytes::from(bytes.clone())).await;
        assert_eq!(done.status(), StatusCode::CREATED, "{}", String::from_utf8_lossy(done.body()));
        digest(&bytes)
    }

    /// Pushes a component; returns its manifest's digest.
    pub(super) async fn push_component(&self, repository: &str, tag: &str, component: &[u8]) -> String {
        self.push_blob(repository, b"{}").await;
        self.push_blob(repository, component).await;
        self.push_manifest(repository, tag, &manifest(component)).await
    }
}
