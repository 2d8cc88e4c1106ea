//! An agent's log as server-sent events, on our own route and on the one that existing clients use.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cofferdam_contract::{AgentId, LogLine, Problem};
use futures_util::stream::{self, Stream};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::{agent_id, own_organization};
use crate::refusals::NotFound;
use cofferdam_core::Caller;
use cofferdam_deployments::Deployments;
use cofferdam_http::ApiError;
use cofferdam_logs::{Follower, LogQuery, Logs};
use tokio::time::Instant;

/// The interval at which an agent whose log is followed is looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(3);
/// After a deletion: the longest silence before the stream ends, and the longest time until then.
const LAST_LINES_WAIT: Duration = Duration::from_millis(300);
const MAX_LAST_LINES_TIME: Duration = Duration::from_secs(10);
const DELETED: &[u8] = b"event: end\ndata: {\"reason\":\"deleted\",\"detail\":\"The agent was deleted.\"}\n\n";

/// Stream an agent's log.
///
/// Events `log` carry a line as JSON; their ids increase across pods and versions. A client that reconnects with
/// `Last-Event-ID` misses nothing. `end` comes after the last line that there is, or when the agent was deleted.
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
    (deployments, logs): (&Arc<Deployments>, &Arc<Logs>),
    caller: &Arc<Caller>,
    id: &str,
    query: &LogQuery,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let id = agent_id(id)?;
    let last = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
    let query = query.understand(last)?;
    // An agent of another organization does not exist for the caller.
    let agent = deployments.show(caller, &id).await?;
    if agent.serverless {
        let detail = format!(
            "The agent {id} is serverless and writes no log. GET /v1/agents/{id}/tasks (`cofferdam task list --agent {id}`) lists \
             its tasks, and each has events."
        );
        return Err(Problem::conflict(detail).into());
    }
    if let Some(version) = query.version {
        agent.check_version(version)?;
    }
    let follows = query.follow;
    let follower = logs.follow(&caller.organization, &id, query)?;
    let head = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    if !follows {
        return Ok((head, Body::from_stream(follower.into_stream())).into_response());
    }
    let deleted = deleted(Arc::clone(deployments), Arc::clone(caller), id, agent.created_at);
    Ok((head, Body::from_stream(until_deleted(follower, deleted))).into_response())
}

/// Waits until an agent is deleted, or another one has its id.
async fn deleted(deployments: Arc<Deployments>, caller: Arc<Caller>, id: AgentId, created_at: i64) {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        match deployments.created_at(&caller, &id).await {
            Ok(at) if at != Some(created_at) => return,
            // A store that cannot be read now says nothing.
            Ok(_) | Err(_) => {}
        }
    }
}

/// A log until its agent is deleted: then the lines that are left, and the event `end` with the reason.
fn until_deleted(
    follower: Follower,
    deleted: impl Future<Output = ()> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    let begin = (Some(follower), Box::pin(deleted), None::<Instant>);
    stream::unfold(begin, |(follower, mut deleted, mut until)| async move {
        let mut follower = follower?;
        loop {
            let Some(end) = until else {
                tokio::select! {
                    bytes = follower.next() => return Some((Ok(bytes?), (Some(follower), deleted, until))),
                    () = &mut deleted => until = Some(Instant::now() + MAX_LAST_LINES_TIME),
                }
                continue;
            };
            let left = LAST_LINES_WAIT.min(end.saturating_duration_since(Instant::now()));
            return match tokio::time::timeout(left, follower.next()).await {
                Ok(Some(bytes)) => Some((Ok(bytes), (Some(follower), deleted, until))),
                Ok(None) | Err(_) => Some((Ok(Bytes::from_static(DELETED)), (None, deleted, until))),
            };
        }
    })
}
