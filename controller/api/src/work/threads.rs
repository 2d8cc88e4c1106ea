//! `/v1/threads`: threads and their messages.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use cofferdam_contract::Problem;
use cofferdam_contract::work::ThreadInfo;
use cofferdam_core::Caller;
use cofferdam_http::{ApiError, Json, OptionalJson};
use cofferdam_tasks::{MessagePage, MessagesOf, Tasks, ThreadFilter, ThreadPage};
use http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{DEFAULT_PAGE, agent_id, thread_id};
use crate::refusals::{InvalidValue, NotFound, TaskState, Unavailable};

/// The longest user in a filter, in bytes.
const MAX_USER: usize = 512;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Only threads with this agent.
    agent: Option<String>,
    /// Only threads of this user: `input.user.id` of the task that began it.
    user: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// Page size, 1 to 200; 50 by default.
    limit: Option<u32>,
}

/// List threads, the newest first.
#[utoipa::path(get, path = "/v1/threads", tag = "threads", params(Asked),
    responses((status = 200, body = ThreadPage), InvalidValue, Unavailable))]
pub(super) async fn list_threads(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Query(asked): Query<Asked>,
) -> Result<Json<ThreadPage>, ApiError> {
    if asked.user.as_ref().is_some_and(|user| user.len() > MAX_USER) {
        return Err(Problem::invalid(format!("user: at most {MAX_USER} bytes")).into());
    }
    let filter = ThreadFilter {
        agent: asked.agent.as_deref().map(agent_id).transpose()?,
        user: asked.user,
        after: asked.after,
        limit: asked.limit.unwrap_or(DEFAULT_PAGE),
    };
    Ok(Json(tasks.threads(&caller, &filter).await?))
}

/// Show a thread.
#[utoipa::path(get, path = "/v1/threads/{id}", tag = "threads", params(("id" = String, Path)),
    responses((status = 200, body = ThreadInfo), NotFound, Unavailable))]
pub(super) async fn get_thread(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<ThreadInfo>, ApiError> {
    Ok(Json(tasks.thread(&caller, &thread_id(&id)?).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Span {
    /// Messages after this number; 0, from the beginning, by default.
    after: Option<u64>,
    /// The last messages before this number, instead of `after`. A thread's `messages` plus 1 gives its newest ones.
    before: Option<u64>,
    /// Page size, 1 to 200; 50 by default.
    limit: Option<u32>,
}

/// List a thread's messages, a page at a time, from either end.
#[utoipa::path(get, path = "/v1/threads/{id}/messages", tag = "threads", params(("id" = String, Path), Span),
    responses((status = 200, body = MessagePage), NotFound, InvalidValue, Unavailable))]
pub(super) async fn list_messages(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    Query(span): Query<Span>,
) -> Result<Json<MessagePage>, ApiError> {
    let of = match (span.after, span.before) {
        (Some(_), Some(_)) => return Err(Problem::invalid("send `after` or `before`, not both").into()),
        (None, Some(before)) => MessagesOf::Before(before),
        (after, None) => MessagesOf::After(after.unwrap_or(0)),
    };
    Ok(Json(tasks.messages(&caller, &thread_id(&id)?, of, span.limit.unwrap_or(DEFAULT_PAGE)).await?))
}

/// The place of a fork.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Fork {
    /// The last message that the new thread has; all by default.
    message: Option<u64>,
}

/// Copy a thread's messages, up to one of them, into a new thread.
#[utoipa::path(post, path = "/v1/threads/{id}/fork", tag = "threads", params(("id" = String, Path)),
    request_body(content = Option<Fork>, example = json!({"message": 4})),
    responses((status = 201, body = ThreadInfo), NotFound, TaskState, Unavailable))]
pub(super) async fn fork_thread(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    OptionalJson(fork): OptionalJson<Fork>,
) -> Result<(StatusCode, Json<ThreadInfo>), ApiError> {
    Ok((StatusCode::CREATED, Json(tasks.fork_thread(&caller, &thread_id(&id)?, fork.message).await?)))
}

/// Delete a thread with its tasks, messages and events. Its tasks must have ended.
#[utoipa::path(delete, path = "/v1/threads/{id}", tag = "threads", params(("id" = String, Path)),
    responses((status = 204), NotFound, TaskState, Unavailable))]
pub(super) async fn delete_thread(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    tasks.delete_thread(&caller, &thread_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
