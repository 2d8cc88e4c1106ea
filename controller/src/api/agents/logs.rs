//! An agent's log as server-sent events, in our form and in the one that existing clients ask for.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use cofferdam_contract::{LogLine, Problem};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::{agent_id, own_organization};
use crate::Error;
use crate::agents;
use crate::agents::logs::LogQuery;
use crate::auth::Caller;
use crate::services::App;

/// Stream an agent's log.
///
/// Events `log` carry a line as JSON; their ids count up, over pods and versions. A client that comes back with
/// `Last-Event-ID` misses nothing.
#[utoipa::path(get, path = "/agents/{id}/logs", tag = "agents",
    params(("id" = String, Path), LogQuery,
        ("last-event-id" = Option<u64>, Header, description = "Go on after this line")),
    responses((status = 200, description = "Events `log`, `gap`, `end`", body = LogLine, content_type = "text/event-stream"),
        (status = 429, description = "Too many follow logs; see Retry-After", body = Problem, content_type = "application/problem+json")))]
pub async fn agent_logs(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    Query(query): Query<LogQuery>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    stream(&app, &caller, &id, &query, &headers).await
}

/// Stream an agent's log, as clients of the xpander contract ask for it.
#[utoipa::path(get, path = "/{org}/agent-containers/{id}/logs", tag = "agents",
    params(("org" = String, Path), ("id" = String, Path), LogQuery,
        ("last-event-id" = Option<u64>, Header, description = "Go on after this line")),
    responses((status = 200, description = "Events `log`, `gap`, `end`", body = LogLine, content_type = "text/event-stream"),
        (status = 429, description = "Too many follow logs; see Retry-After", body = Problem, content_type = "application/problem+json")))]
pub async fn container_logs(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path((org, id)): Path<(String, String)>,
    Query(query): Query<LogQuery>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    own_organization(&caller, &org)?;
    stream(&app, &caller, &id, &query, &headers).await
}

async fn stream(
    app: &App,
    caller: &Caller,
    id: &str,
    query: &LogQuery,
    headers: &HeaderMap,
) -> Result<Response, Error> {
    let id = agent_id(id)?;
    let last = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
    let query = query.understand(last)?;
    // What the caller may not see is not there.
    agents::show(app, caller, &id).await?;
    let follower = app.logs.follow(&caller.organization, &id, query)?;
    let head = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    Ok((head, Body::from_stream(follower.into_stream())).into_response())
}
