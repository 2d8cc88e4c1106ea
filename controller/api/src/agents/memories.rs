//! The memories of agents over HTTP: listed, searched, forgotten.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use cofferdam_agents::Agents;
use cofferdam_contract::Problem;
use cofferdam_core::Caller;
use cofferdam_http::{ApiError, Json};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::agent_id;
use crate::refusals::NotFound;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct MemoriesOf {
    /// The person whose memories they are; absent: the agent's own.
    person: Option<String>,
    /// Only those that have these words.
    q: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MemoryView {
    id: String,
    text: String,
    updated_at: cofferdam_contract::Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MemoryList {
    /// The newest first, at most 1,000.
    memories: Vec<MemoryView>,
}

/// List what an agent remembers.
#[utoipa::path(get, path = "/v1/agents/{id}/memories", tag = "agents", params(("id" = String, Path), MemoriesOf),
    responses((status = 200, body = MemoryList), NotFound))]
pub(super) async fn list_memories(
    State(agents): State<Arc<Agents>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    Query(of): Query<MemoriesOf>,
) -> Result<Json<MemoryList>, ApiError> {
    let id = agent_id(&id)?;
    agents.show(&caller, &id).await?;
    let person = of.person.unwrap_or_default();
    let found = match of.q {
        Some(words) => agents.search_memories(&caller.organization, &id, &person, &words, 1_000).await?,
        None => agents.recall(&caller.organization, &id, &person, 1_000).await?,
    };
    let view = |memory: cofferdam_agents::Memory| MemoryView {
        id: memory.id,
        text: memory.content,
        updated_at: cofferdam_contract::Timestamp(memory.updated_at_ms),
    };
    Ok(Json(MemoryList { memories: found.into_iter().map(view).collect() }))
}

/// Let an agent forget something.
#[utoipa::path(delete, path = "/v1/agents/{id}/memories/{memory}", tag = "agents",
    params(("id" = String, Path), ("memory" = String, Path), MemoriesOf),
    responses((status = 204, description = "It is forgotten"), NotFound))]
pub(super) async fn delete_memory(
    State(agents): State<Arc<Agents>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path((id, memory)): Path<(String, String)>,
    Query(of): Query<MemoriesOf>,
) -> Result<StatusCode, ApiError> {
    let (id, person) = (agent_id(&id)?, of.person.unwrap_or_default());
    match agents.forget_memory(&caller.organization, &id, &person, &memory).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::not_found("There is no such memory of this agent and person.").into()),
    }
}
