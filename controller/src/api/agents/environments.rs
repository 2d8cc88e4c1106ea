//! `/v1/environments`: where agents run and where their images lie. Secrets go in and do not come out.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use cofferdam_contract::Problem;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Error;
use crate::api::json::Json;
use crate::auth::Caller;
use crate::environments::{self, EnvironmentInfo, EnvironmentRequest};
use crate::services::App;

#[derive(Debug, Serialize, ToSchema)]
pub struct EnvironmentList {
    environments: Vec<EnvironmentInfo>,
}

/// List the organization's environments; `local` comes from the server's own settings.
#[utoipa::path(get, path = "/v1/environments", tag = "environments", responses((status = 200, body = EnvironmentList)))]
pub async fn list_environments(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
) -> Result<Json<EnvironmentList>, Error> {
    Ok(Json(EnvironmentList { environments: environments::list(&app, &caller).await? }))
}

/// Make an environment, or replace all settings of one.
#[utoipa::path(put, path = "/v1/environments/{name}", tag = "environments", params(("name" = String, Path)),
    request_body = EnvironmentRequest,
    responses((status = 201, description = "Made", body = EnvironmentInfo),
        (status = 200, description = "Replaced", body = EnvironmentInfo),
        (status = 409, description = "`local` cannot be changed here", body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn put_environment(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
    Json(request): Json<EnvironmentRequest>,
) -> Result<(StatusCode, Json<EnvironmentInfo>), Error> {
    let (info, new) = environments::put(&app, &caller, &name, request).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(info)))
}

/// Show an environment, without its secrets.
#[utoipa::path(get, path = "/v1/environments/{name}", tag = "environments", params(("name" = String, Path)),
    responses((status = 200, body = EnvironmentInfo)))]
pub async fn get_environment(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<Json<EnvironmentInfo>, Error> {
    Ok(Json(environments::show(&app, &caller, &name).await?))
}

/// Delete an environment that no agent is in.
#[utoipa::path(delete, path = "/v1/environments/{name}", tag = "environments", params(("name" = String, Path)),
    responses((status = 204, description = "Deleted"),
        (status = 409, description = "Agents are in it", body = Problem, content_type = "application/problem+json")))]
pub async fn delete_environment(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Error> {
    environments::delete(&app, &caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
