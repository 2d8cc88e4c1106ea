//! `/v1/agents`: make, list, show and delete agents.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use cofferdam_contract::Problem;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{agent_id, once};
use crate::Error;
use crate::agents::{self, AgentInfo, CreateAgent};
use crate::api::json::Json;
use crate::auth::Caller;
use crate::services::App;

const USUAL: usize = 100;

/// Make an agent.
#[utoipa::path(post, path = "/v1/agents", tag = "agents", request_body = CreateAgent,
    params(("idempotency-key" = Option<String>, Header, description = "The same key and body again make nothing new")),
    responses((status = 201, body = AgentInfo),
        (status = 409, description = "There is one of that id", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "There are too many", body = Problem, content_type = "application/problem+json")))]
pub async fn create_agent(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    headers: HeaderMap,
    Json(request): Json<CreateAgent>,
) -> Result<(StatusCode, Json<AgentInfo>), Error> {
    let once = once(&headers, None, &("create", &request.id, &request.name, &request.environment))?;
    Ok((StatusCode::CREATED, Json(agents::create(&app, &caller, request, &once).await?)))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Ids after this one.
    #[serde(default)]
    after: String,
    /// At most so many, up to 200.
    limit: Option<usize>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AgentList {
    agents: Vec<AgentInfo>,
    /// Where there are more: what to send as `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// List agents by id.
#[utoipa::path(get, path = "/v1/agents", tag = "agents", params(Page), responses((status = 200, body = AgentList)))]
pub async fn list_agents(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Query(page): Query<Page>,
) -> Result<Json<AgentList>, Error> {
    let (agents, next) = agents::list(&app, &caller, &page.after, page.limit.unwrap_or(USUAL)).await?;
    Ok(Json(AgentList { agents, next }))
}

/// Show an agent: what serves, and what is newest.
#[utoipa::path(get, path = "/v1/agents/{id}", tag = "agents", params(("id" = String, Path)),
    responses((status = 200, body = AgentInfo)))]
pub async fn get_agent(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<AgentInfo>, Error> {
    Ok(Json(agents::show(&app, &caller, &agent_id(&id)?).await?))
}

/// Delete an agent: it is gone when everything that runs of it is.
#[utoipa::path(delete, path = "/v1/agents/{id}", tag = "agents", params(("id" = String, Path)),
    responses((status = 202, description = "It is being deleted")))]
pub async fn delete_agent(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    agents::delete(&app, &caller, &agent_id(&id)?).await?;
    Ok(StatusCode::ACCEPTED)
}
