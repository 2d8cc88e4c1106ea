//! What needs no key: health, readiness, the API's description; and metrics, open to this machine only.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cofferdam_contract::worker::WorkerHealth;
use cofferdam_contract::{OrganizationId, Problem};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;

use super::json::Json;
use super::observe::Peer;
use crate::Error;
use crate::auth::{Scope, presented_key};
use crate::services::App;
use crate::workers::WorkerRequest;

#[derive(Debug, Serialize, ToSchema)]
pub struct Live {
    status: &'static str,
}

/// Is this process alive?
#[utoipa::path(get, path = "/health", tag = "system", responses((status = 200, body = Live)))]
pub async fn health() -> Json<Live> {
    Json(Live { status: "ok" })
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    ready: bool,
    workers: Vec<WorkerReady>,
    /// What the start is busy with, until it is ready.
    #[serde(skip_serializing_if = "String::is_empty")]
    progress: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct WorkerReady {
    name: String,
    ready: bool,
    kernels: Vec<String>,
}

/// Is there a worker that takes runs?
#[utoipa::path(get, path = "/ready", tag = "system", responses((status = 200, body = Ready), (status = 503, body = Ready)))]
pub async fn ready(State(app): State<App>) -> (StatusCode, Json<Ready>) {
    let workers = app.workers.all().iter().map(|worker| WorkerReady {
        name: worker.name.clone(),
        ready: worker.is_ready(),
        kernels: worker.health().map(|WorkerHealth { kernels, .. }| kernels).unwrap_or_default(),
    });
    let ready = app.workers.any_ready();
    let progress = if ready { String::new() } else { app.progress.read().unwrap_or_else(|e| e.into_inner()).clone() };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, workers: workers.collect(), progress }))
}

/// Can an aws-operator find its work?
pub async fn operator_ready(State(app): State<App>) -> StatusCode {
    match app.store.free_carriages(0, 1).await {
        Ok(_) => StatusCode::OK,
        Err(error) => {
            tracing::warn!(error = %error.chain(), "the database does not answer");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// Prometheus metrics, the local workers' after our own. From other machines it needs a key with scope `read`.
#[utoipa::path(get, path = "/metrics", tag = "system",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub async fn metrics(
    State(app): State<App>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    if !peer.is_some_and(|Extension(Peer(address))| address.ip().to_canonical().is_loopback()) {
        let key =
            presented_key(&headers).ok_or_else(|| Problem::unauthorized("From other machines this needs a key."))?;
        let caller = app.keys.find(key).await?.ok_or_else(|| Problem::unauthorized("This API key is not known."))?;
        if !caller.scopes.cover(Scope::Read) {
            return Err(Problem::forbidden("This call needs the scope `read`.").into());
        }
    }
    let ready = app.workers.all().iter().filter(|worker| worker.is_ready()).count();
    app.metrics.workers_ready.set(i64::try_from(ready).unwrap_or(i64::MAX));
    let organization = OrganizationId::default_organization();
    let mut text = Bytes::new();
    if let Some(worker) = app.workers.all().iter().find(|worker| worker.name == "local") {
        let request = WorkerRequest::new(Method::GET, "/metrics", &organization);
        // Our own metrics are worth having while the worker is down.
        text = worker.ask_bytes(request).await.unwrap_or_default();
    }
    let mut tools = Bytes::new();
    if let Some(worker) = app.tool_workers.all().iter().find(|worker| worker.name() == "local") {
        tools = worker.metrics().await.unwrap_or_default();
    }
    let text = app.metrics.text(&[&String::from_utf8_lossy(&text), &String::from_utf8_lossy(&tools)]);
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}

/// The OpenAPI document as it is sent.
#[derive(Clone)]
pub struct Document(Bytes);

impl Document {
    pub fn new(document: &OpenApi) -> Self {
        Self(Bytes::from(serde_json::to_vec(document).unwrap_or_default()))
    }
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "system", responses((status = 200, body = Object)))]
pub async fn openapi(Extension(document): Extension<Document>) -> Response {
    ([(CONTENT_TYPE, "application/json")], document.0).into_response()
}
