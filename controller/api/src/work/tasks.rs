//! `/v1/tasks`: lists and single tasks.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use cofferdam_contract::work::{TaskInfo, TaskStatus, ThreadInfo};
use cofferdam_core::Caller;
use cofferdam_http::{ApiError, Json};
use cofferdam_tasks::{MessagePage, MessagesOf, TaskFilter, TaskPage, Tasks};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{DEFAULT_PAGE, agent_id, task_id, thread_id};
use crate::refusals::{InvalidValue, NotFound, Unavailable};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OfAll {
    /// Only tasks of this agent.
    agent: Option<String>,
    /// Only tasks in this state; `error` are the dead letters, which can be replayed.
    #[param(value_type = Option<String>)]
    status: Option<TaskStatus>,
    /// Only tasks of this thread.
    thread: Option<String>,
    /// Only tasks that this task has made.
    parent: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// Page size, 1 to 200; 50 by default.
    limit: Option<u32>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OfAgent {
    /// Only tasks in this state; `error` are the dead letters, which can be replayed.
    #[param(value_type = Option<String>)]
    status: Option<TaskStatus>,
    /// `next` of the page before.
    after: Option<String>,
    /// Page size, 1 to 200; 50 by default.
    limit: Option<u32>,
}

/// List tasks, the newest first.
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks", params(OfAll), responses((status = 200, body = TaskPage), InvalidValue, Unavailable))]
pub(super) async fn list_tasks(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Query(asked): Query<OfAll>,
) -> Result<Json<TaskPage>, ApiError> {
    let filter = TaskFilter {
        agent: asked.agent.as_deref().map(agent_id).transpose()?,
        status: asked.status,
        thread: asked.thread.as_deref().map(thread_id).transpose()?,
        parent: asked.parent.as_deref().map(task_id).transpose()?,
        after: asked.after,
        limit: asked.limit.unwrap_or(DEFAULT_PAGE),
    };
    Ok(Json(tasks.list(&caller, &filter).await?))
}

/// List an agent's tasks, the newest first.
#[utoipa::path(get, path = "/v1/agents/{id}/tasks", tag = "tasks", params(("id" = String, Path), OfAgent),
    responses((status = 200, body = TaskPage), InvalidValue, NotFound, Unavailable))]
pub(super) async fn list_tasks_of_agent(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    Query(asked): Query<OfAgent>,
) -> Result<Json<TaskPage>, ApiError> {
    let filter = TaskFilter {
        agent: Some(agent_id(&id)?),
        status: asked.status,
        after: asked.after,
        limit: asked.limit.unwrap_or(DEFAULT_PAGE),
        ..TaskFilter::default()
    };
    Ok(Json(tasks.list(&caller, &filter).await?))
}

/// Show a task.
#[utoipa::path(get, path = "/v1/tasks/{id}", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = TaskInfo), NotFound, Unavailable))]
pub(super) async fn get_task(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<TaskInfo>, ApiError> {
    Ok(Json(tasks.get(&caller, &task_id(&id)?).await?))
}

/// A thread with a page of its messages.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ThreadWithMessages {
    thread: ThreadInfo,
    #[serde(flatten)]
    page: MessagePage,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OfThread {
    /// Messages after this number; from the beginning by default.
    after: Option<u64>,
    /// Page size, 1 to 200; 50 by default.
    limit: Option<u32>,
}

/// Show a task's thread with a page of its messages.
#[utoipa::path(get, path = "/v1/tasks/{id}/thread", tag = "threads", params(("id" = String, Path), OfThread),
    responses((status = 200, body = ThreadWithMessages), NotFound, InvalidValue, Unavailable))]
pub(super) async fn get_task_thread(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    Query(asked): Query<OfThread>,
) -> Result<Json<ThreadWithMessages>, ApiError> {
    let task = tasks.row(&caller, &task_id(&id)?).await?;
    let of = MessagesOf::After(asked.after.unwrap_or(0));
    let page = tasks.messages(&caller, &task.thread, of, asked.limit.unwrap_or(DEFAULT_PAGE)).await?;
    Ok(Json(ThreadWithMessages { thread: tasks.thread(&caller, &task.thread).await?, page }))
}
