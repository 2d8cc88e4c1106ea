//! `/v1/agents/{id}/deployments`: the versions of an agent.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::agent_id;
use crate::refusals::NotFound;
use cofferdam_core::Caller;
use cofferdam_deployments::{DeploymentInfo, Deployments};
use cofferdam_http::ApiError;
use cofferdam_http::Json;

const DEFAULT_PAGE: u64 = 50;
const MAX_PAGE: u64 = 200;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// Return numbers below this one.
    before: Option<u64>,
    /// Page size, up to 200.
    limit: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeploymentList {
    deployments: Vec<DeploymentInfo>,
    /// The next page's `before`; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// List an agent's deployments, newest first.
#[utoipa::path(get, path = "/v1/agents/{id}/deployments", tag = "agents", params(("id" = String, Path), Page),
    responses((status = 200, body = DeploymentList), NotFound))]
pub(super) async fn list_deployments(
    State(deployments): State<Arc<Deployments>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    Query(page): Query<Page>,
) -> Result<Json<DeploymentList>, ApiError> {
    let most = page.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
    let deployments = deployments.deployments(&caller, &agent_id(&id)?, page.before, most).await?;
    let full = deployments.len() as u64 == most;
    let next = deployments.last().map(|last| last.number).filter(|number| full && *number > 1);
    Ok(Json(DeploymentList { deployments, next }))
}

/// Show a deployment.
#[utoipa::path(get, path = "/v1/agents/{id}/deployments/{number}", tag = "agents",
    params(("id" = String, Path), ("number" = u64, Path)), responses((status = 200, body = DeploymentInfo), NotFound))]
pub(super) async fn get_deployment(
    State(deployments): State<Arc<Deployments>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path((id, number)): Path<(String, u64)>,
) -> Result<Json<DeploymentInfo>, ApiError> {
    Ok(Json(deployments.deployment(&caller, &agent_id(&id)?, number).await?))
}
