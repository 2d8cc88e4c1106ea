//! The worker's routes, and the conversion of problems to responses.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use cofferdam_contract::run::MAX_REQUEST_BYTES;
use cofferdam_contract::worker::{MAX_RUNS_HEADER, ORGANIZATION_HEADER, WorkerHealth};
use cofferdam_contract::{OrganizationId, Problem};

use super::{Worker, runs, sessions};
use crate::error::Error;

pub(super) fn router(worker: Arc<Worker>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/uplink", post(uplink))
        .route("/runs", post(runs::run))
        .route("/runs/{id}/files/{*path}", get(runs::file))
        .route("/sessions", post(sessions::create))
        .route("/session-infos", post(sessions::infos))
        .route("/sessions/{id}", get(sessions::show).delete(sessions::remove))
        .route("/sessions/{id}/suspend", post(sessions::suspend))
        .route("/sessions/{id}/resume", post(sessions::resume))
        .route("/sessions/{id}/fork", post(sessions::fork))
        .route("/sessions/{id}/snapshots/{key}", post(sessions::snapshot))
        .route("/snapshots/{key}", delete(sessions::remove_snapshot))
        .route("/sessions/{id}/files", get(sessions::files))
        .route("/sessions/{id}/files/{*path}", get(sessions::file).put(sessions::put_file))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES + (64 << 10)))
        .with_state(worker)
}

/// A problem as a response.
pub(crate) struct ProblemResponse(pub(crate) Problem);

impl From<Problem> for ProblemResponse {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<Error> for ProblemResponse {
    fn from(error: Error) -> Self {
        if !matches!(error, Error::Refused(_)) {
            tracing::error!(%error, "a request failed on our side");
        }
        Self(error.to_problem())
    }
}

impl IntoResponse for ProblemResponse {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, serde_json::to_string(&self.0).unwrap_or_default()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.0.retryable {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The number of places that the organization may have at once here.
pub(crate) fn max_runs(headers: &HeaderMap) -> Option<usize> {
    headers.get(MAX_RUNS_HEADER)?.to_str().ok()?.parse().ok()
}

/// The organization that the caller names. The wire requires it.
pub(crate) fn organization(headers: &HeaderMap) -> Result<OrganizationId, Problem> {
    let name = headers.get(ORGANIZATION_HEADER).and_then(|value| value.to_str().ok());
    let name = name.ok_or_else(|| Problem::malformed(format!("the header {ORGANIZATION_HEADER} is required")))?;
    OrganizationId::parse(name).map_err(|e| Problem::malformed(e.to_string()))
}

async fn health(State(worker): State<Arc<Worker>>) -> Json<WorkerHealth> {
    let (active, waiting) = worker.admission.load();
    let (live, suspended) = worker.sessions.count();
    Json(WorkerHealth {
        kernels: worker.kernels.iter().map(|kernel| format!("{} {}", kernel.name(), kernel.version())).collect(),
        runs_active: active as u64,
        runs_waiting: waiting as u64,
        sessions_live: live as u64,
        sessions_suspended: suspended as u64,
    })
}

async fn metrics(State(worker): State<Arc<Worker>>) -> Response {
    let text = worker.metrics.text(&worker);
    ([(header::CONTENT_TYPE, super::metrics::CONTENT_TYPE)], text).into_response()
}

async fn uplink(State(worker): State<Arc<Worker>>, request: Request) -> Result<Response, ProblemResponse> {
    Ok(worker.uplinks.accept(request)?)
}
