//! Steering tasks: stop, pause, resume, replay.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use cofferdam_contract::TaskId;
use cofferdam_contract::work::TaskInfo;
use cofferdam_core::Caller;
use cofferdam_http::{ApiError, Json};
use cofferdam_tasks::Tasks;
use serde::Serialize;
use utoipa::ToSchema;

use super::{agent_id, task_id};
use crate::refusals::{NotFound, TaskState, Unavailable};

/// Stop a task: at once if nobody works on it, else within its step. Its sub-agents' tasks stop as well.
#[utoipa::path(post, path = "/v1/tasks/{id}/stop", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = TaskInfo), NotFound, TaskState, Unavailable))]
pub(super) async fn stop_task(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<TaskInfo>, ApiError> {
    Ok(Json(tasks.stop(&caller, &task_id(&id)?).await?))
}

/// Stop a task, as existing clients do. The task stays, to be looked at.
#[utoipa::path(delete, path = "/v1/tasks/{id}", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = TaskInfo), NotFound, TaskState, Unavailable))]
pub(super) async fn delete_task(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<TaskInfo>, ApiError> {
    Ok(Json(tasks.stop(&caller, &task_id(&id)?).await?))
}

/// Pause a task: at once if nobody works on it, else at its next step.
#[utoipa::path(post, path = "/v1/tasks/{id}/pause", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = TaskInfo), NotFound, TaskState, Unavailable))]
pub(super) async fn pause_task(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<TaskInfo>, ApiError> {
    Ok(Json(tasks.pause(&caller, &task_id(&id)?).await?))
}

/// Let a paused task go on.
#[utoipa::path(post, path = "/v1/tasks/{id}/resume", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = TaskInfo), NotFound, TaskState, Unavailable))]
pub(super) async fn resume_task(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<TaskInfo>, ApiError> {
    Ok(Json(tasks.resume(&caller, &task_id(&id)?).await?))
}

/// Run a dead letter again: a task in `error`, or one that failed as `poison`. Results of calls that were made are kept.
#[utoipa::path(post, path = "/v1/tasks/{id}/replay", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = TaskInfo), NotFound, TaskState, Unavailable))]
pub(super) async fn replay_task(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<TaskInfo>, ApiError> {
    Ok(Json(tasks.replay(&caller, &task_id(&id)?).await?))
}

/// The tasks that run again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Replayed {
    replayed: Vec<TaskId>,
}

/// Run an agent's dead letters again: up to 100 tasks in `error`, the newest first. Repeat it until none is left.
#[utoipa::path(post, path = "/v1/agents/{id}/tasks/replay", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = Replayed), NotFound, Unavailable))]
pub(super) async fn replay_tasks_of_agent(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<Replayed>, ApiError> {
    Ok(Json(Replayed { replayed: tasks.replay_of_agent(&caller, &agent_id(&id)?).await? }))
}
