//! `/v1/sessions`: stateful contexts: create, list, show, suspend, resume, fork and end them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use cofferdam_contract::{ForkRequest, Problem, Session, SessionId, SessionRequest};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::refusals::{InvalidValue, NotFound, SessionBusy, SessionLost, StorageFull, TooMany, WorkerLost};
use cofferdam_core::Caller;
use cofferdam_http::ApiError;
use cofferdam_http::{Json, OptionalJson};
use cofferdam_sandbox::{MAX_PAGE, Sandboxes};

/// Parses a session id in a path. An invalid id is answered like an unknown one.
pub(super) fn session_id(text: &str) -> Result<SessionId, ApiError> {
    SessionId::parse(text).map_err(|_| Problem::not_found("There is no such session.").into())
}

/// Create a session.
#[utoipa::path(post, path = "/v1/sessions", tag = "sessions", request_body = SessionRequest,
    responses((status = 201, body = Session), NotFound, TooMany, WorkerLost))]
pub(crate) async fn create_session(
    State(sandboxes): State<Arc<Sandboxes>>,
    Extension(caller): Extension<Arc<Caller>>,
    Json(request): Json<SessionRequest>,
) -> Result<(StatusCode, Json<Session>), ApiError> {
    Ok((StatusCode::CREATED, Json(sandboxes.create_session(&caller, &request).await?)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// Page size, 1 to 1,000.
    #[serde(default = "default_page")]
    limit: u32,
    /// `next` of the previous page.
    #[serde(default)]
    after: String,
}

fn default_page() -> u32 {
    100
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionList {
    sessions: Vec<Session>,
    /// The next page's `after`; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<SessionId>,
}

/// List the key's sessions.
#[utoipa::path(get, path = "/v1/sessions", tag = "sessions", params(Page), responses((status = 200, body = SessionList), InvalidValue, WorkerLost))]
pub(crate) async fn list_sessions(
    State(sandboxes): State<Arc<Sandboxes>>,
    Extension(caller): Extension<Arc<Caller>>,
    Query(page): Query<Page>,
) -> Result<Json<SessionList>, ApiError> {
    if !(1..=MAX_PAGE).contains(&page.limit) {
        return Err(Problem::invalid(format!("limit is {}; 1 to {MAX_PAGE} are allowed", page.limit)).into());
    }
    let (sessions, next) = sandboxes.list_sessions(&caller, &page.after, page.limit).await?;
    Ok(Json(SessionList { sessions, next }))
}

/// Show a session.
#[utoipa::path(get, path = "/v1/sessions/{id}", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = Session), NotFound, SessionLost, WorkerLost))]
pub(crate) async fn get_session(
    State(sandboxes): State<Arc<Sandboxes>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<Session>, ApiError> {
    Ok(Json(sandboxes.show_session(&caller, &session_id(&id)?).await?))
}

/// End a session and delete its state and files.
#[utoipa::path(delete, path = "/v1/sessions/{id}", tag = "sessions", params(("id" = String, Path)),
    responses((status = 204, description = "Ended"), NotFound, WorkerLost))]
pub(crate) async fn delete_session(
    State(sandboxes): State<Arc<Sandboxes>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    sandboxes.delete_session(&caller, &session_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Write a session to disk; its next run resumes it.
#[utoipa::path(post, path = "/v1/sessions/{id}/suspend", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = Session), NotFound, SessionBusy, SessionLost, TooMany, StorageFull, WorkerLost))]
pub(crate) async fn suspend_session(
    State(sandboxes): State<Arc<Sandboxes>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<Session>, ApiError> {
    Ok(Json(sandboxes.suspend_session(&caller, &session_id(&id)?).await?))
}

/// Bring a suspended session back into memory.
#[utoipa::path(post, path = "/v1/sessions/{id}/resume", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = Session), NotFound, SessionBusy, SessionLost, TooMany, StorageFull, WorkerLost))]
pub(crate) async fn resume_session(
    State(sandboxes): State<Arc<Sandboxes>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<Session>, ApiError> {
    Ok(Json(sandboxes.resume_session(&caller, &session_id(&id)?).await?))
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ForkList {
    sessions: Vec<Session>,
}

/// Copy a live or suspended session.
#[utoipa::path(post, path = "/v1/sessions/{id}/fork", tag = "sessions", params(("id" = String, Path)),
    request_body = Option<ForkRequest>,
    responses((status = 201, body = ForkList), NotFound, SessionBusy, SessionLost, TooMany, StorageFull, WorkerLost))]
pub(crate) async fn fork_session(
    State(sandboxes): State<Arc<Sandboxes>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    OptionalJson(request): OptionalJson<ForkRequest>,
) -> Result<(StatusCode, Json<ForkList>), ApiError> {
    let sessions = sandboxes.fork_session(&caller, &session_id(&id)?, request.count).await?;
    Ok((StatusCode::CREATED, Json(ForkList { sessions })))
}
