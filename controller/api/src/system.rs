//! Routes without a key: health, readiness, the OpenAPI document; and metrics, which only this machine reads without a
//! key.

use std::sync::Arc;

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

use crate::metrics::Metrics;
use crate::observe::Peer;
use crate::require::find_caller;
use cofferdam_core::{Scope, chain};
use cofferdam_http::ApiError;
use cofferdam_http::Json;
use cofferdam_identity::Keyring;
use cofferdam_store::Store;
use cofferdam_workers::{ToolWorkers, WorkerRequest, Workers};
use parking_lot::RwLock;

/// The parts whose state these routes show.
pub struct Status {
    pub workers: Arc<Workers>,
    pub tool_workers: Arc<ToolWorkers>,
    /// The current step of the start, until it is ready.
    pub progress: Arc<RwLock<String>>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Live {
    status: &'static str,
}

/// Is this process alive?
#[utoipa::path(get, path = "/health", tag = "system", responses((status = 200, body = Live)))]
pub(crate) async fn health() -> Json<Live> {
    Json(Live { status: "ok" })
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ready {
    ready: bool,
    workers: Vec<WorkerReady>,
    /// The current step of the start, until it is ready.
    #[serde(skip_serializing_if = "String::is_empty")]
    progress: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkerReady {
    name: String,
    ready: bool,
    kernels: Vec<String>,
}

/// Is there a worker that takes runs?
#[utoipa::path(get, path = "/ready", tag = "system", responses((status = 200, body = Ready), (status = 503, body = Ready)))]
pub(crate) async fn ready(State(status): State<Arc<Status>>) -> (StatusCode, Json<Ready>) {
    let workers = status.workers.all().iter().map(|worker| WorkerReady {
        name: worker.name().to_owned(),
        ready: worker.is_ready(),
        kernels: worker.health().map(|WorkerHealth { kernels, .. }| kernels).unwrap_or_default(),
    });
    let ready = status.workers.any_ready();
    let progress = if ready { String::new() } else { status.progress.read().clone() };
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(Ready { ready, workers: workers.collect(), progress }))
}

/// Does the database answer? For a process that serves no API.
pub(crate) async fn database_ready(State(store): State<Store>) -> StatusCode {
    match store.free_carriages(0, 1).await {
        Ok(_) => StatusCode::OK,
        Err(error) => {
            tracing::warn!(error = %chain(&error), "the database does not answer");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// Prometheus metrics: the server's own, then the local workers'. Other machines need a key of the organization
/// `default` with the scope `read`.
#[utoipa::path(get, path = "/metrics", tag = "system",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub(crate) async fn metrics(
    State(status): State<Arc<Status>>,
    State(metrics): State<Arc<Metrics>>,
    State(keyring): State<Arc<Keyring>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let address = peer.map(|Extension(Peer(address))| address.ip());
    if !address.is_some_and(|address| address.to_canonical().is_loopback()) {
        let caller = find_caller(&keyring, &headers, address, "Other machines need an API key for this.").await?;
        // They tell about all organizations together.
        let own = caller.organization == OrganizationId::default_organization();
        if !own || !caller.scopes.cover(Scope::Read) {
            let detail = "This call needs the scope `read`, of a key of the operator's organization (`default`).";
            return Err(Problem::forbidden(detail).into());
        }
    }
    let ready = status.workers.all().iter().filter(|worker| worker.is_ready()).count();
    metrics.workers_ready.set(i64::try_from(ready).unwrap_or(i64::MAX));
    let organization = OrganizationId::default_organization();
    let mut text = Bytes::new();
    if let Some(worker) = status.workers.all().iter().find(|worker| worker.name() == "local") {
        let request = WorkerRequest::new(Method::GET, "/metrics", &organization);
        // Without the worker, the server's own metrics are still returned.
        text = worker.ask_bytes(request).await.unwrap_or_default();
    }
    let mut tools = Bytes::new();
    if let Some(worker) = status.tool_workers.all().iter().find(|worker| worker.name() == "local") {
        tools = worker.metrics().await.unwrap_or_default();
    }
    let text = metrics.text(&[&String::from_utf8_lossy(&text), &String::from_utf8_lossy(&tools)]);
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}

/// The OpenAPI document as it is sent.
#[derive(Clone)]
pub(crate) struct Document(Bytes);

impl Document {
    pub(crate) fn new(document: &OpenApi) -> Self {
        Self(Bytes::from(serde_json::to_vec(document).unwrap_or_default()))
    }
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "system", responses((status = 200, body = Object)))]
pub(crate) async fn openapi(Extension(document): Extension<Document>) -> Response {
    ([(CONTENT_TYPE, "application/json")], document.0).into_response()
}
