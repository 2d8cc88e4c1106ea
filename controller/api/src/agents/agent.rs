//! `/v1/agents`: create, list, show and delete agents.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use cofferdam_contract::Problem;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{agent_id, once};
use crate::refusals::NotFound;
use cofferdam_core::Caller;
use cofferdam_deployments::{AgentInfo, CreateAgent, DeletedAgent, Deployments};
use cofferdam_http::ApiError;
use cofferdam_http::Json;

const DEFAULT_PAGE: usize = 100;

/// Create an agent.
#[utoipa::path(post, path = "/v1/agents", tag = "agents", request_body = CreateAgent,
    params(("idempotency-key" = Option<String>, Header, description = "Repeating a request with the same key and body creates nothing")),
    responses((status = 201, body = AgentInfo),
        (status = 409, description = "An agent with this id already exists", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Agent limit reached", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn create_agent(
    State(deployments): State<Arc<Deployments>>,
    Extension(caller): Extension<Arc<Caller>>,
    headers: HeaderMap,
    Json(request): Json<CreateAgent>,
) -> Result<(StatusCode, Json<AgentInfo>), ApiError> {
    let once = once(&headers, None, &("create", &request.id, &request.name, &request.environment))?;
    Ok((StatusCode::CREATED, Json(deployments.create(&caller, request, &once).await?)))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// Return ids after this one.
    #[serde(default)]
    after: String,
    /// Page size, up to 200.
    limit: Option<usize>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AgentList {
    agents: Vec<AgentInfo>,
    /// The next page's `after`; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// List agents by id.
#[utoipa::path(get, path = "/v1/agents", tag = "agents", params(Page), responses((status = 200, body = AgentList)))]
pub(super) async fn list_agents(
    State(deployments): State<Arc<Deployments>>,
    Extension(caller): Extension<Arc<Caller>>,
    Query(page): Query<Page>,
) -> Result<Json<AgentList>, ApiError> {
    let (agents, next) = deployments.list(&caller, &page.after, page.limit.unwrap_or(DEFAULT_PAGE)).await?;
    Ok(Json(AgentList { agents, next }))
}

/// Show an agent, with its serving and its newest version.
#[utoipa::path(get, path = "/v1/agents/{id}", tag = "agents", params(("id" = String, Path)),
    responses((status = 200, body = AgentInfo), NotFound))]
pub(super) async fn get_agent(
    State(deployments): State<Arc<Deployments>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<AgentInfo>, ApiError> {
    Ok(Json(deployments.show(&caller, &agent_id(&id)?).await?))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Force {
    /// Delete it even if its cluster does not let go of what it holds. The answer names what may stay there.
    #[serde(default)]
    pub(super) force: bool,
}

/// Delete an agent. It disappears once all of its workloads are gone.
///
/// With `force`, it disappears after one attempt to remove them, for a cluster that is gone or whose credentials are.
#[utoipa::path(delete, path = "/v1/agents/{id}", tag = "agents", params(("id" = String, Path), Force),
    responses((status = 202, description = "The deletion has begun", body = DeletedAgent), NotFound))]
pub(super) async fn delete_agent(
    State(deployments): State<Arc<Deployments>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    Query(Force { force }): Query<Force>,
) -> Result<(StatusCode, Json<DeletedAgent>), ApiError> {
    Ok((StatusCode::ACCEPTED, Json(deployments.delete(&caller, &agent_id(&id)?, force).await?)))
}
