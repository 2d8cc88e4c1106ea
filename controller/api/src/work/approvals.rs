//! Tool calls that wait for a person, and the answers.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use cofferdam_contract::work::{ApprovalInfo, Decide, TaskInfo};
use cofferdam_core::Caller;
use cofferdam_http::{ApiError, Json};
use cofferdam_tasks::{ApprovalPage, Tasks};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{DEFAULT_PAGE, task_id};
use crate::refusals::{InvalidValue, NotFound, TaskState, Unavailable};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// `next` of the page before.
    after: Option<String>,
    /// Page size, 1 to 200; 50 by default.
    limit: Option<u32>,
}

/// List all tool calls of the organization that wait for a person.
#[utoipa::path(get, path = "/v1/approvals", tag = "approvals", params(Page),
    responses((status = 200, body = ApprovalPage), InvalidValue, Unavailable))]
pub(super) async fn list_approvals(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Query(asked): Query<Page>,
) -> Result<Json<ApprovalPage>, ApiError> {
    let limit = asked.limit.unwrap_or(DEFAULT_PAGE);
    Ok(Json(tasks.approvals(&caller, asked.after.as_deref(), limit).await?))
}

/// Tool calls of a task that wait for a person.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Approvals {
    approvals: Vec<ApprovalInfo>,
}

/// List the tool calls of a task that wait for a person.
#[utoipa::path(get, path = "/v1/tasks/{id}/approvals", tag = "approvals", params(("id" = String, Path)),
    responses((status = 200, body = Approvals), NotFound, Unavailable))]
pub(super) async fn list_approvals_of_task(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<Approvals>, ApiError> {
    Ok(Json(Approvals { approvals: tasks.approvals_of(&caller, &task_id(&id)?).await? }))
}

/// Answer a question about a tool call.
///
/// For a call that was not made: `approve`, `decline`, or `edit` with other `arguments`. Of a call whose outcome is unknown: `retry`
/// (make it again), `skip`, or `result` with what it gave. Send the `digest` that was shown, so that nobody approves what he has not
/// seen. The first answer counts.
#[utoipa::path(post, path = "/v1/tasks/{id}/approvals/{call}", tag = "approvals",
    params(("id" = String, Path), ("call" = String, Path, description = "`call_id` of the approval")),
    request_body(content = Decide, example = json!({"verdict": "approve", "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"})),
    responses((status = 200, body = TaskInfo), NotFound, TaskState, Unavailable))]
pub(super) async fn decide(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path((id, call)): Path<(String, String)>,
    Json(answer): Json<Decide>,
) -> Result<Json<TaskInfo>, ApiError> {
    Ok(Json(tasks.decide(&caller, &task_id(&id)?, &call, answer).await?))
}
