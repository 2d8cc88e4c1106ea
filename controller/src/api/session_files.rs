//! `/v1/sessions/{id}/files`: the working folder of a session.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use cofferdam_contract::FileEntry;
use cofferdam_contract::run::MAX_REQUEST_BYTES;
use http::StatusCode;

use super::body;
use super::pass::pass;
use super::sessions::session_id;
use crate::Error;
use crate::auth::Caller;
use crate::services::{App, files};

/// List a session's files.
#[utoipa::path(get, path = "/v1/sessions/{id}/files", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = Vec<FileEntry>)))]
pub async fn list_session_files(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let (response, in_use) = files::of_session(&app, &caller, &session_id(&id)?, None).await?;
    pass(response, in_use).await
}

/// Fetch a file of a session.
#[utoipa::path(get, path = "/v1/sessions/{id}/files/{*path}", tag = "sessions",
    params(("id" = String, Path), ("path" = String, Path, description = "May contain slashes")),
    responses((status = 200, description = "The file", body = Vec<u8>, content_type = "application/octet-stream")))]
pub async fn get_session_file(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path((id, path)): Path<(String, String)>,
) -> Result<Response, Error> {
    let (response, in_use) = files::of_session(&app, &caller, &session_id(&id)?, Some(&path)).await?;
    pass(response, in_use).await
}

/// Write a file into a session's working folder.
#[utoipa::path(put, path = "/v1/sessions/{id}/files/{*path}", tag = "sessions",
    params(("id" = String, Path), ("path" = String, Path, description = "May contain slashes")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204, description = "Written")))]
pub async fn put_session_file(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path((id, path)): Path<(String, String)>,
    request: Request,
) -> Result<StatusCode, Error> {
    let (parts, body) = request.into_parts();
    let bytes = body::read(&parts.headers, body, MAX_REQUEST_BYTES).await?;
    files::put(&app, &caller, &session_id(&id)?, &path, bytes).await?;
    Ok(StatusCode::NO_CONTENT)
}
