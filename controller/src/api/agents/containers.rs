//! The forms that existing clients and pipelines speak: `/agent-containers/{id}/...` and `/{org}/...`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use http::HeaderMap;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::base::base;
use super::deploy_agent::ContainerInfo;
use super::{agent_id, once, own_organization};
use crate::Error;
use crate::agents::uploads::{self, UploadLink};
use crate::agents::{self, DeployRequest, variables};
use crate::api::json::{Json, OptionalJson};
use crate::auth::Caller;
use crate::services::App;

/// Begin an upload: the link takes one image archive by PUT.
#[utoipa::path(get, path = "/agent-containers/{id}/generate_upload_link", tag = "agents", params(("id" = String, Path)),
    responses((status = 200, body = UploadLink)))]
pub async fn generate_upload_link(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<UploadLink>, Error> {
    let id = agent_id(&id)?;
    let once = once(&headers, None, &json!(["upload", id]))?;
    Ok(Json(uploads::begin(&app, &caller, &base(&app.config, &headers), &id, &once).await?))
}

/// Run what was uploaded last, or what the body names.
#[utoipa::path(post, path = "/agent-containers/{id}/deploy", tag = "agents", params(("id" = String, Path)),
    request_body = DeployRequest, responses((status = 200, body = ContainerInfo)))]
pub async fn deploy_container(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    OptionalJson(request): OptionalJson<DeployRequest>,
) -> Result<Json<ContainerInfo>, Error> {
    let id = agent_id(&id)?;
    let once = once(&headers, None, &json!(["deploy", id, request]))?;
    let info = agents::deploy(&app, &caller, &id, &request, &once).await?;
    Ok(Json(ContainerInfo::of(id, Some(info))))
}

/// Start again what runs, or ran last.
#[utoipa::path(post, path = "/agent-containers/{id}/start", tag = "agents", params(("id" = String, Path)),
    responses((status = 200, body = ContainerInfo)))]
pub async fn start_container(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<ContainerInfo>, Error> {
    let id = agent_id(&id)?;
    let once = once(&headers, None, &json!(["restart", id]))?;
    let info = agents::restart(&app, &caller, &id, &once).await?;
    Ok(Json(ContainerInfo::of(id, Some(info))))
}

/// Stop what runs.
#[utoipa::path(delete, path = "/agent-containers/{id}/stop", tag = "agents", params(("id" = String, Path)),
    responses((status = 200, body = ContainerInfo)))]
pub async fn stop_container(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<ContainerInfo>, Error> {
    let id = agent_id(&id)?;
    agents::stop(&app, &caller, &id).await?;
    Ok(Json(ContainerInfo::of_agent(agents::show(&app, &caller, &id).await?)))
}

/// Variables of all agents of the organization.
#[derive(Debug, Serialize, ToSchema)]
pub struct VariableNames {
    /// Their names, all of them; values are not shown.
    names: Vec<String>,
}

/// Set variables that every agent of the organization gets; `null` deletes one.
///
/// Values are texts and stay as they are: `"007"` is `007`. Agents get them when they start next.
#[utoipa::path(patch, path = "/{org}/registry/secrets_sync", tag = "agents", params(("org" = String, Path)),
    request_body(content = BTreeMap<String, Option<String>>, description = "Names and values"),
    responses((status = 200, body = VariableNames)))]
pub async fn secrets_sync(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(org): Path<String>,
    Json(changes): Json<Variables>,
) -> Result<Json<VariableNames>, Error> {
    own_organization(&caller, &org)?;
    Ok(Json(VariableNames { names: variables::sync(&app, &caller, &changes.0).await? }))
}

/// Names with texts. What else a value is, no error says.
pub struct Variables(BTreeMap<String, Option<String>>);

impl<'de> serde::Deserialize<'de> for Variables {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let values = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
        let text = |(name, value): (String, serde_json::Value)| match value {
            serde_json::Value::String(text) => Ok((name, Some(text))),
            serde_json::Value::Null => Ok((name, None)),
            _ => {
                let shown: String = name.chars().take(80).collect();
                Err(D::Error::custom(format!("{shown:?}: a value has to be a text (in quotes), or null to delete it")))
            }
        };
        values.into_iter().map(text).collect::<Result<_, _>>().map(Self)
    }
}
