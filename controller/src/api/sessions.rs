//! `/v1/sessions`: stateful contexts and what can be done with them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use cofferdam_contract::{ForkRequest, Problem, Session, SessionId, SessionRequest};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::json::{Json, OptionalJson};
use crate::Error;
use crate::auth::Caller;
use crate::services::session_list::{self, MAX_PAGE};
use crate::services::{App, sessions};

/// The session that an address names. A text that is no id names none.
pub(super) fn session_id(text: &str) -> Result<SessionId, Error> {
    SessionId::parse(text).map_err(|_| Problem::not_found("There is no such session.").into())
}

/// Make a session.
#[utoipa::path(post, path = "/v1/sessions", tag = "sessions", request_body = SessionRequest,
    responses((status = 201, body = Session)))]
pub async fn create_session(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Json(request): Json<SessionRequest>,
) -> Result<(StatusCode, Json<Session>), Error> {
    Ok((StatusCode::CREATED, Json(sessions::create(&app, &caller, &request).await?)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Sessions at most, 1 to 1,000.
    #[serde(default = "default_page")]
    limit: u32,
    /// `next` of the page before.
    #[serde(default)]
    after: String,
}

fn default_page() -> u32 {
    100
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SessionList {
    sessions: Vec<Session>,
    /// Send it as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<SessionId>,
}

/// List the key's sessions.
#[utoipa::path(get, path = "/v1/sessions", tag = "sessions", params(Page), responses((status = 200, body = SessionList)))]
pub async fn list_sessions(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Query(page): Query<Page>,
) -> Result<Json<SessionList>, Error> {
    if !(1..=MAX_PAGE).contains(&page.limit) {
        return Err(Problem::invalid(format!("limit is {}; 1 to {MAX_PAGE} are allowed", page.limit)).into());
    }
    let (sessions, next) = session_list::list(&app, &caller, &page.after, page.limit).await?;
    Ok(Json(SessionList { sessions, next }))
}

/// Show a session.
#[utoipa::path(get, path = "/v1/sessions/{id}", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = Session)))]
pub async fn get_session(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<Session>, Error> {
    Ok(Json(sessions::show(&app, &caller, &session_id(&id)?).await?))
}

/// End a session; its state and its files are gone.
#[utoipa::path(delete, path = "/v1/sessions/{id}", tag = "sessions", params(("id" = String, Path)),
    responses((status = 204, description = "Ended")))]
pub async fn delete_session(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    sessions::delete(&app, &caller, &session_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Write a session to disk; its next run resumes it.
#[utoipa::path(post, path = "/v1/sessions/{id}/suspend", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = Session)))]
pub async fn suspend_session(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<Session>, Error> {
    Ok(Json(sessions::suspend(&app, &caller, &session_id(&id)?).await?))
}

/// Bring a suspended session back into memory.
#[utoipa::path(post, path = "/v1/sessions/{id}/resume", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = Session)))]
pub async fn resume_session(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<Session>, Error> {
    Ok(Json(sessions::resume(&app, &caller, &session_id(&id)?).await?))
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ForkList {
    sessions: Vec<Session>,
}

/// Copy a live or suspended session.
#[utoipa::path(post, path = "/v1/sessions/{id}/fork", tag = "sessions", params(("id" = String, Path)),
    request_body = Option<ForkRequest>,
    responses((status = 201, body = ForkList)))]
pub async fn fork_session(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    OptionalJson(request): OptionalJson<ForkRequest>,
) -> Result<(StatusCode, Json<ForkList>), Error> {
    let sessions = sessions::fork(&app, &caller, &session_id(&id)?, request.count).await?;
    Ok((StatusCode::CREATED, Json(ForkList { sessions })))
}
