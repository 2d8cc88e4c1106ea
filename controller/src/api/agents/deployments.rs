//! `/v1/agents/{id}/deployments`: the versions of an agent.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::agent_id;
use crate::Error;
use crate::agents::{self, DeploymentInfo};
use crate::api::json::Json;
use crate::auth::Caller;
use crate::services::App;

const USUAL: u64 = 50;
const MOST: u64 = 200;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Numbers below this one.
    before: Option<u64>,
    /// At most so many, up to 200.
    limit: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DeploymentList {
    deployments: Vec<DeploymentInfo>,
    /// Where there are more: what to send as `before`.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// List an agent's deployments, the newest first.
#[utoipa::path(get, path = "/v1/agents/{id}/deployments", tag = "agents", params(("id" = String, Path), Page),
    responses((status = 200, body = DeploymentList)))]
pub async fn list_deployments(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    Query(page): Query<Page>,
) -> Result<Json<DeploymentList>, Error> {
    let most = page.limit.unwrap_or(USUAL).clamp(1, MOST);
    let deployments = agents::deployments(&app, &caller, &agent_id(&id)?, page.before, most).await?;
    let full = deployments.len() as u64 == most;
    let next = deployments.last().map(|last| last.number).filter(|number| full && *number > 1);
    Ok(Json(DeploymentList { deployments, next }))
}

/// Show a deployment.
#[utoipa::path(get, path = "/v1/agents/{id}/deployments/{number}", tag = "agents",
    params(("id" = String, Path), ("number" = u64, Path)), responses((status = 200, body = DeploymentInfo)))]
pub async fn get_deployment(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path((id, number)): Path<(String, u64)>,
) -> Result<Json<DeploymentInfo>, Error> {
    Ok(Json(agents::deployment(&app, &caller, &agent_id(&id)?, number).await?))
}
