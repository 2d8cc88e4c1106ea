//! `/v1/upstreams`: put, list, show, test and delete the upstreams of models. Keys are write-only.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use cofferdam_contract::Problem;
use cofferdam_core::Caller;
use cofferdam_http::{ApiError, Json};
use cofferdam_models::Settings;
use cofferdam_models::settings::{
    DocumentKind, DocumentOwner, PutUpstream, TestReport, Unique, UpstreamDocument, UpstreamSpec,
};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::refusals::{InUse, NotFound, TooMany};

/// An upstream with its keys.
#[derive(ToSchema)]
#[allow(dead_code)] // The shape of a request, for the document only: `PutUpstream::parse` reads it.
pub(super) struct UpstreamRequest {
    #[serde(flatten)]
    spec: UpstreamSpec,
    /// Up to 32 keys that are used in turn: texts, or names of stored secrets as `{"secret": NAME}`. Without it the stored
    /// keys stay, as long as they go to the same place.
    #[schema(write_only)]
    keys: Option<Vec<UpstreamKey>>,
    /// The name in the address, if what is shown is put back.
    name: Option<String>,
    /// `organization`, if what is shown is put back.
    owner: Option<DocumentOwner>,
    /// Is left aside, as the next four: what is shown may be put back.
    key_count: Option<usize>,
    secrets: Option<Vec<String>>,
    broken: Option<String>,
    created_at: Option<i64>,
    updated_at: Option<i64>,
}

/// A key: its text, or the name of the organization's secret that has it.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code)] // For the document only.
pub(super) enum UpstreamKey {
    Text(String),
    Stored { secret: String },
}

#[derive(Serialize, ToSchema)]
pub(super) struct UpstreamInfo {
    name: String,
    /// An operator's upstream is shown with kind, models, services and region only.
    owner: DocumentOwner,
    /// The number of keys, which are never shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_count: Option<usize>,
    /// Names of the stored secrets among the keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<String>,
    /// Says what is wrong, if it cannot be used: its calls are refused until that is mended.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<String>,
    /// Unix time in seconds; none for the operator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<i64>,
    /// Unix time in seconds of the last change.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<i64>,
    #[serde(flatten)]
    spec: UpstreamSpec,
}

#[derive(Serialize, ToSchema)]
pub(super) struct UpstreamList {
    upstreams: Vec<UpstreamInfo>,
}

impl From<UpstreamDocument> for UpstreamInfo {
    fn from(upstream: UpstreamDocument) -> Self {
        let UpstreamDocument { document, key_count, secrets, broken } = upstream;
        Self {
            name: document.name,
            owner: document.owner,
            key_count: (document.owner == DocumentOwner::Organization).then_some(key_count),
            secrets,
            broken,
            created_at: document.created_at,
            updated_at: document.updated_at,
            spec: document.spec,
        }
    }
}

/// Create an upstream, or replace the one with this name.
///
/// It may only have public addresses, and those that the operator opens.
#[utoipa::path(put, path = "/v1/upstreams/{name}", tag = "models", params(("name" = String, Path)),
    request_body = UpstreamRequest, responses((status = 201, description = "Made", body = UpstreamInfo),
    (status = 200, description = "Changed", body = UpstreamInfo), TooMany))]
pub(super) async fn put_upstream(
    State(settings): State<Arc<Settings>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
    Json(Unique(request)): Json<Unique>,
) -> Result<(StatusCode, Json<UpstreamInfo>), ApiError> {
    let request = PutUpstream::parse_as(&name, request)?;
    let (upstream, new) = settings.put_upstream(&caller.organization, &name, request).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(upstream.into())))
}

/// List the upstreams, with the operator's.
#[utoipa::path(get, path = "/v1/upstreams", tag = "models", responses((status = 200, body = UpstreamList)))]
pub(super) async fn list_upstreams(
    State(settings): State<Arc<Settings>>,
    Extension(caller): Extension<Arc<Caller>>,
) -> Result<Json<UpstreamList>, ApiError> {
    let upstreams = settings.upstreams(&caller.organization).await?;
    Ok(Json(UpstreamList { upstreams: upstreams.into_iter().map(UpstreamInfo::from).collect() }))
}

/// Show an upstream, without its keys.
#[utoipa::path(get, path = "/v1/upstreams/{name}", tag = "models", params(("name" = String, Path)),
    responses((status = 200, body = UpstreamInfo), NotFound))]
pub(super) async fn get_upstream(
    State(settings): State<Arc<Settings>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<Json<UpstreamInfo>, ApiError> {
    Ok(Json(settings.upstream(&caller.organization, &name).await?.into()))
}

/// Delete an upstream and its keys.
#[utoipa::path(delete, path = "/v1/upstreams/{name}", tag = "models", params(("name" = String, Path)),
    responses((status = 204, description = "Deleted"), NotFound, InUse))]
pub(super) async fn delete_upstream(
    State(settings): State<Arc<Settings>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    settings.delete(&caller.organization, DocumentKind::Upstream, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ask an upstream for a cheap answer.
///
/// The status is 200 also if the upstream fails: `ok` and `detail` say so.
#[utoipa::path(post, path = "/v1/upstreams/{name}/test", tag = "models", params(("name" = String, Path)),
    responses((status = 200, body = TestReport), NotFound))]
pub(super) async fn test_upstream(
    State(settings): State<Arc<Settings>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<Json<TestReport>, ApiError> {
    Ok(Json(settings.test_upstream(&caller.organization, &name).await?))
}

/// Ask an upstream for a cheap answer before it is saved.
///
/// With the `name` of a stored upstream and without `keys`, its keys are used if they go to the same place.
#[utoipa::path(post, path = "/v1/upstreams/test", tag = "models", request_body = UpstreamRequest,
    responses((status = 200, body = TestReport)))]
pub(super) async fn test_unsaved_upstream(
    State(settings): State<Arc<Settings>>,
    Extension(caller): Extension<Arc<Caller>>,
    Json(Unique(request)): Json<Unique>,
) -> Result<Json<TestReport>, ApiError> {
    let name = match request.get("name") {
        None => None,
        Some(serde_json::Value::String(name)) => Some(name.clone()),
        Some(_) => return Err(Problem::malformed("name: a text").into()),
    };
    let request = PutUpstream::parse(request)?;
    Ok(Json(settings.test_unsaved(&caller.organization, name.as_deref(), &request).await?))
}
