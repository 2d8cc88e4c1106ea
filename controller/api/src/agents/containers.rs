//! The routes that existing clients and pipelines use: `/agent-containers/{id}/...` and `/{org}/...`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use http::HeaderMap;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::deploy_agent::ContainerInfo;
use super::{agent_id, once, own_organization};
use crate::base::Base;
use crate::refusals::{NotFound, Unavailable};
use cofferdam_core::Caller;
use cofferdam_deployments::{DeployRequest, Deployments, UploadLink, Uploads};
use cofferdam_environments::Variables;
use cofferdam_http::ApiError;
use cofferdam_http::{Json, OptionalJson};

/// Begin an upload. The returned link accepts one image archive by PUT.
#[utoipa::path(get, path = "/agent-containers/{id}/generate_upload_link", tag = "agents", params(("id" = String, Path)),
    responses((status = 200, body = UploadLink), NotFound, Unavailable))]
pub(super) async fn generate_upload_link(
    State(uploads): State<Arc<Uploads>>,
    State(base): State<Base>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<UploadLink>, ApiError> {
    let id = agent_id(&id)?;
    let once = once(&headers, None, &json!(["upload", id]))?;
    Ok(Json(uploads.begin(&caller, &base.of(&headers), &id, None, &DeployRequest::default(), &once).await?))
}

/// Deploy the newest uploaded image, or the one that the body names.
#[utoipa::path(post, path = "/agent-containers/{id}/deploy", tag = "agents", params(("id" = String, Path)),
    request_body = DeployRequest, responses((status = 200, body = ContainerInfo), NotFound))]
pub(super) async fn deploy_container(
    State(deployments): State<Arc<Deployments>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    OptionalJson(request): OptionalJson<DeployRequest>,
) -> Result<Json<ContainerInfo>, ApiError> {
    let id = agent_id(&id)?;
    let once = once(&headers, None, &json!(["deploy", id, request]))?;
    let info = deployments.deploy(&caller, &id, &request, &once).await?;
    Ok(Json(ContainerInfo::of(id, Some(info))))
}

/// Start the agent with a new deployment of the version that runs or ran last.
#[utoipa::path(post, path = "/agent-containers/{id}/start", tag = "agents", params(("id" = String, Path)),
    responses((status = 200, body = ContainerInfo), NotFound))]
pub(super) async fn start_container(
    State(deployments): State<Arc<Deployments>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<ContainerInfo>, ApiError> {
    let id = agent_id(&id)?;
    let once = once(&headers, None, &json!(["restart", id]))?;
    let info = deployments.restart(&caller, &id, &once).await?;
    Ok(Json(ContainerInfo::of(id, Some(info))))
}

/// Stop the agent.
#[utoipa::path(delete, path = "/agent-containers/{id}/stop", tag = "agents", params(("id" = String, Path)),
    responses((status = 200, body = ContainerInfo), NotFound))]
pub(super) async fn stop_container(
    State(deployments): State<Arc<Deployments>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<ContainerInfo>, ApiError> {
    let id = agent_id(&id)?;
    deployments.stop(&caller, &id).await?;
    Ok(Json(ContainerInfo::of_agent(deployments.show(&caller, &id).await?)))
}

/// Variables that all agents of the organization get.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VariableNames {
    /// All names; values are never shown.
    names: Vec<String>,
}

/// Set variables that every agent of the organization gets; `null` deletes one.
///
/// Values are strings and are kept verbatim: `"007"` stays `007`. Agents get them at their next start.
#[utoipa::path(patch, path = "/{org}/registry/secrets_sync", tag = "agents", params(("org" = String, Path)),
    request_body(content = BTreeMap<String, Option<String>>, description = "Names and values"),
    responses((status = 200, body = VariableNames), NotFound))]
pub(super) async fn secrets_sync(
    State(variables): State<Arc<Variables>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(org): Path<String>,
    Json(changes): Json<Changes>,
) -> Result<Json<VariableNames>, ApiError> {
    own_organization(&caller, &org)?;
    Ok(Json(VariableNames { names: variables.sync(&caller, &changes.0).await? }))
}

/// Names with their new values. Errors never echo a value.
pub(super) struct Changes(pub(super) BTreeMap<String, Option<String>>);

impl<'de> serde::Deserialize<'de> for Changes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let values = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
        let text = |(name, value): (String, serde_json::Value)| match value {
            serde_json::Value::String(text) => Ok((name, Some(text))),
            serde_json::Value::Null => Ok((name, None)),
            _ => {
                let shown: String = name.chars().take(80).collect();
                Err(D::Error::custom(format!(
                    "{shown:?}: the value must be a string (in quotes), or null to delete it"
                )))
            }
        };
        values.into_iter().map(text).collect::<Result<_, _>>().map(Self)
    }
}
