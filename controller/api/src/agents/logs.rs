//! An agent's log as server-sent events, on our own route and on the one that existing clients use.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use cofferdam_contract::{LogLine, Problem};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::{agent_id, own_organization};
use crate::refusals::NotFound;
use cofferdam_core::Caller;
use cofferdam_deployments::Deployments;
use cofferdam_http::ApiError;
use cofferdam_logs::{LogQuery, Logs};

/// Stream an agent's log.
///
/// Events `log` carry a line as JSON; their ids increase across pods and versions. A client that reconnects with
/// `Last-Event-ID` misses nothing.
#[utoipa::path(get, path = "/agents/{id}/logs", tag = "agents",
    params(("id" = String, Path), LogQuery,
        ("last-event-id" = Option<u64>, Header, description = "Continue after this line")),
    responses((status = 200, description = "Events `log`, `gap`, `end`", body = LogLine, content_type = "text/event-stream"),
        (status = 429, description = "Too many streams; see Retry-After", body = Problem, content_type = "application/problem+json"), NotFound))]
pub(super) async fn agent_logs(
    State(deployments): State<Arc<Deployments>>,
    State(logs): State<Arc<Logs>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    Query(query): Query<LogQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    stream((&deployments, &logs), &caller, &id, &query, &headers).await
}

/// Stream an agent's log, on the route of the xpander contract.
#[utoipa::path(get, path = "/{org}/agent-containers/{id}/logs", tag = "agents",
    params(("org" = String, Path), ("id" = String, Path), LogQuery,
        ("last-event-id" = Option<u64>, Header, description = "Continue after this line")),
    responses((status = 200, description = "Events `log`, `gap`, `end`", body = LogLine, content_type = "text/event-stream"),
        (status = 429, description = "Too many streams; see Retry-After", body = Problem, content_type = "application/problem+json"), NotFound))]
pub(super) async fn container_logs(
    State(deployments): State<Arc<Deployments>>,
    State(logs): State<Arc<Logs>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path((org, id)): Path<(String, String)>,
    Query(query): Query<LogQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    own_organization(&caller, &org)?;
    stream((&deployments, &logs), &caller, &id, &query, &headers).await
}

async fn stream(
    (deployments, logs): (&Deployments, &Arc<Logs>),
    caller: &Caller,
    id: &str,
    query: &LogQuery,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let id = agent_id(id)?;
    let last = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
    let query = query.understand(last)?;
    // An agent of another organization does not exist for the caller.
    deployments.show(caller, &id).await?;
    let follower = logs.follow(&caller.organization, &id, query)?;
    let head = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    Ok((head, Body::from_stream(follower.into_stream())).into_response())
}
