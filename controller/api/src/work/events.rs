//! Events of threads and tasks as server-sent events: what is stored first, then what happens. A client that leaves changes nothing,
//! and goes on from any process with the id of the last event that it saw.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use cofferdam_contract::Problem;
use cofferdam_contract::work::EventInfo;
use cofferdam_core::Caller;
use cofferdam_http::ApiError;
use cofferdam_tasks::{Event, Follow, Tasks};
use futures_util::stream::{self, Stream};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{task_id, thread_id};
use crate::refusals::{NotFound, TooMany, Unavailable};

/// A comment is sent after this much silence: it keeps proxies from closing the connection, and shows us a broken one.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
const COMMENT: &[u8] = b": still here\n\n";
/// Clients that lost their connection come back after this many milliseconds.
const RETRY_FIELD: &[u8] = b"retry: 1000\n\n";

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Only events after this one. The header `Last-Event-ID` goes before it.
    after: Option<u64>,
}

/// Follow a task's events, from its first one or from where a client left off. The stream ends after `task_finished`.
#[utoipa::path(get, path = "/v1/tasks/{id}/events", tag = "tasks",
    params(("id" = String, Path), Asked, ("last-event-id" = Option<u64>, Header, description = "Continue after this event")),
    responses((status = 200, description = "Events by their type; their data is an EventInfo", body = EventInfo, content_type = "text/event-stream"),
        NotFound, TooMany, Unavailable))]
pub(super) async fn task_events(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let after = after(&headers, asked.after)?;
    Ok(answer(tasks.follow_task(&caller, &task_id(&id)?, after).await?))
}

/// Follow a thread's events, over all of its tasks. The stream has no end of its own.
#[utoipa::path(get, path = "/v1/threads/{id}/events", tag = "threads",
    params(("id" = String, Path), Asked, ("last-event-id" = Option<u64>, Header, description = "Continue after this event")),
    responses((status = 200, description = "Events by their type; their data is an EventInfo", body = EventInfo, content_type = "text/event-stream"),
        NotFound, TooMany, Unavailable))]
pub(super) async fn thread_events(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let after = after(&headers, asked.after)?;
    Ok(answer(tasks.follow(&caller, &thread_id(&id)?, after, None).await?))
}

/// The event after which a stream begins.
fn after(headers: &HeaderMap, asked: Option<u64>) -> Result<u64, Problem> {
    match headers.get("last-event-id").filter(|value| !value.is_empty()) {
        Some(value) => value.to_str().ok().and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
            Problem::invalid("Last-Event-ID: the number of an event, as the stream's `id` fields have it")
        }),
        None => Ok(asked.unwrap_or(0)),
    }
}

/// The answer that shows a follower's events.
pub(super) fn answer(follow: Follow) -> Response {
    let head = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    // Proxies by nginx's rules do not hold it back.
    ([("x-accel-buffering", "no")], head, Body::from_stream(frames(follow))).into_response()
}

fn frames(follow: Follow) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    stream::unfold((follow, false), |(mut follow, begun)| async move {
        if !begun {
            return Some((Ok(Bytes::from_static(RETRY_FIELD)), (follow, true)));
        }
        let bytes = match tokio::time::timeout(KEEP_ALIVE_INTERVAL, follow.next()).await {
            Ok(Some(Ok(events))) => join(&events),
            // The client comes back with the number of its last event.
            Ok(Some(Err(_)) | None) => return None,
            Err(_) => Bytes::from_static(COMMENT),
        };
        Some((Ok(bytes), (follow, true)))
    })
}

/// One piece of the body of several events.
fn join(events: &[Arc<Event>]) -> Bytes {
    match events {
        [event] => event.frame(),
        events => {
            let frames: Vec<Bytes> = events.iter().map(|event| event.frame()).collect();
            let mut bytes = BytesMut::with_capacity(frames.iter().map(Bytes::len).sum());
            frames.iter().for_each(|frame| bytes.extend_from_slice(frame));
            bytes.freeze()
        }
    }
}
