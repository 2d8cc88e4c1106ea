//! `/v1/environments`: the clusters that agents run in and the registries of their images. Secrets are write-only.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use cofferdam_contract::Problem;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::agent::Force;
use crate::refusals::{NotFound, TooMany};
use cofferdam_core::Caller;
use cofferdam_deployments::{DeletedAgent, Deployments, EnvironmentTest};
use cofferdam_environments::{EnvironmentInfo, EnvironmentRequest, Environments};
use cofferdam_http::ApiError;
use cofferdam_http::Json;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EnvironmentList {
    environments: Vec<EnvironmentInfo>,
}

/// List the organization's environments; `local` comes from the server's own settings.
#[utoipa::path(get, path = "/v1/environments", tag = "environments", responses((status = 200, body = EnvironmentList)))]
pub(super) async fn list_environments(
    State(environments): State<Arc<Environments>>,
    Extension(caller): Extension<Arc<Caller>>,
) -> Result<Json<EnvironmentList>, ApiError> {
    Ok(Json(EnvironmentList { environments: environments.list(&caller).await? }))
}

/// Create an environment, or replace all settings of an existing one.
#[utoipa::path(put, path = "/v1/environments/{name}", tag = "environments", params(("name" = String, Path)),
    request_body = EnvironmentRequest,
    responses((status = 201, description = "Made", body = EnvironmentInfo),
        (status = 200, description = "Replaced", body = EnvironmentInfo),
        (status = 409, description = "`local` cannot be changed here", body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"), NotFound))]
pub(super) async fn put_environment(
    State(environments): State<Arc<Environments>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
    Json(request): Json<EnvironmentRequest>,
) -> Result<(StatusCode, Json<EnvironmentInfo>), ApiError> {
    let (info, new) = environments.put(&caller, &name, request).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(info)))
}

/// Show an environment, without its secrets.
#[utoipa::path(get, path = "/v1/environments/{name}", tag = "environments", params(("name" = String, Path)),
    responses((status = 200, body = EnvironmentInfo), NotFound))]
pub(super) async fn get_environment(
    State(environments): State<Arc<Environments>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<Json<EnvironmentInfo>, ApiError> {
    Ok(Json(environments.show(&caller, &name).await?))
}

/// Test an environment: its cluster's answers and rights, and its registry. Nothing stays changed.
#[utoipa::path(post, path = "/v1/environments/{name}/test", tag = "environments", params(("name" = String, Path)),
    responses((status = 200, body = EnvironmentTest), NotFound, TooMany))]
pub(super) async fn test_environment(
    State(deployments): State<Arc<Deployments>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<Json<EnvironmentTest>, ApiError> {
    Ok(Json(deployments.test_environment(&caller, &name).await?))
}

/// An environment that was deleted by force.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeletedEnvironment {
    /// The agents that were deleted with it.
    agents: Vec<DeletedAgent>,
}

/// Delete an environment that no agent uses.
///
/// With `force`, its agents are deleted with it, even if the cluster does not let go of what it holds.
#[utoipa::path(delete, path = "/v1/environments/{name}", tag = "environments", params(("name" = String, Path), Force),
    responses((status = 204, description = "Deleted"),
        (status = 200, description = "Deleted by force", body = DeletedEnvironment),
        (status = 409, description = "Agents use it", body = Problem, content_type = "application/problem+json"), NotFound))]
pub(super) async fn delete_environment(
    State(deployments): State<Arc<Deployments>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
    Query(Force { force }): Query<Force>,
) -> Result<Response, ApiError> {
    let agents = deployments.delete_environment(&caller, &name, force).await?;
    Ok(if force { Json(DeletedEnvironment { agents }).into_response() } else { StatusCode::NO_CONTENT.into_response() })
}
