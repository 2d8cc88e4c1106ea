//! `/v1/search`: full text over the organization's messages.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use cofferdam_core::Caller;
use cofferdam_http::{ApiError, Json};
use cofferdam_tasks::{FoundPage, Tasks};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{DEFAULT_PAGE, agent_id, thread_id};
use crate::refusals::{InvalidValue, Unavailable};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Words; a message has to have all of them.
    q: String,
    /// Only messages of this agent.
    agent: Option<String>,
    /// Only messages of this thread.
    thread: Option<String>,
    /// `next` of the page before.
    after: Option<u64>,
    /// Page size, 1 to 200; 50 by default.
    limit: Option<u32>,
}

/// Search messages by their words, the newest first. New messages are found after a second or two.
#[utoipa::path(get, path = "/v1/search", tag = "threads", params(Asked),
    responses((status = 200, body = FoundPage), InvalidValue, Unavailable))]
pub(super) async fn search(
    State(tasks): State<Arc<Tasks>>,
    Extension(caller): Extension<Arc<Caller>>,
    Query(asked): Query<Asked>,
) -> Result<Json<FoundPage>, ApiError> {
    let of = (asked.agent.as_deref().map(agent_id).transpose()?, asked.thread.as_deref().map(thread_id).transpose()?);
    let limit = asked.limit.unwrap_or(DEFAULT_PAGE);
    Ok(Json(tasks.search(&caller, &asked.q, of, asked.after, limit).await?))
}
