//! `/v1/sessions/{id}/files`: the working folder of a session.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use cofferdam_contract::FileEntry;
use cofferdam_contract::run::MAX_REQUEST_BYTES;
use http::StatusCode;

use super::pass::pass;
use super::sessions::session_id;
use crate::refusals::{InvalidValue, NotFound, SessionBusy, SessionLost, TooMany, WorkerLost};
use cofferdam_core::Caller;
use cofferdam_http::ApiError;
use cofferdam_http::read_body;
use cofferdam_sandbox::Sandboxes;

/// List a session's files.
#[utoipa::path(get, path = "/v1/sessions/{id}/files", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = Vec<FileEntry>), NotFound, SessionBusy, SessionLost, TooMany, WorkerLost))]
pub(crate) async fn list_session_files(
    State(sandboxes): State<Arc<Sandboxes>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let (response, in_use) = sandboxes.session_files(&caller, &session_id(&id)?, None).await?;
    pass(response, in_use).await
}

/// Fetch a file of a session.
#[utoipa::path(get, path = "/v1/sessions/{id}/files/{*path}", tag = "sessions",
    params(("id" = String, Path), ("path" = String, Path, description = "May contain slashes")),
    responses((status = 200, description = "The file", body = Vec<u8>, content_type = "application/octet-stream"), NotFound, SessionBusy, SessionLost, InvalidValue, TooMany, WorkerLost))]
pub(crate) async fn get_session_file(
    State(sandboxes): State<Arc<Sandboxes>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path((id, path)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let (response, in_use) = sandboxes.session_files(&caller, &session_id(&id)?, Some(&path)).await?;
    pass(response, in_use).await
}

/// Write a file into a session's working folder.
#[utoipa::path(put, path = "/v1/sessions/{id}/files/{*path}", tag = "sessions",
    params(("id" = String, Path), ("path" = String, Path, description = "May contain slashes")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204, description = "Written"), NotFound, SessionBusy, SessionLost, TooMany, WorkerLost))]
pub(crate) async fn put_session_file(
    State(sandboxes): State<Arc<Sandboxes>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path((id, path)): Path<(String, String)>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let (parts, body) = request.into_parts();
    let bytes = read_body(&parts.headers, body, MAX_REQUEST_BYTES).await?;
    sandboxes.put_session_file(&caller, &session_id(&id)?, &path, bytes).await?;
    Ok(StatusCode::NO_CONTENT)
}
