//! `/v1/tools`: deploy, list, show, call, roll back and delete tools.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, Request, State};
use bytes::Bytes;
use cofferdam_contract::ToolOutcome;
use cofferdam_contract::tool::MAX_ARGUMENTS_BYTES;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::tool_upload;
use crate::refusals::{NameTaken, NotFound, RegistryFailed, TooMany, WorkerLost};
use cofferdam_core::Caller;
use cofferdam_http::{ApiError, Json, read_json};
use cofferdam_tools::{PushedTool, ToolInfo, ToolSummary, Tools, arguments};

/// The largest page of tools, and the default.
const MAX_PAGE: usize = 1_000;
const DEFAULT_PAGE: usize = 100;

/// Deploy a tool, or a new version of it.
///
/// The body is the component (`application/wasm`, with `?grants=` or `?policy=`), a form with the parts `component` and
/// `grants`, `policy`, `limits`, or JSON with an OCI reference. The previous version serves until the new one has
/// compiled and answered.
#[utoipa::path(put, path = "/v1/tools/{name}", tag = "tools",
    params(("name" = String, Path, description = "1 to 64 of a-z, 0-9 and `-`"), tool_upload::Asked),
    request_body(content(
        (Vec<u8> = "application/wasm"), (tool_upload::Form = "multipart/form-data"), (tool_upload::FromRegistry = "application/json"))),
    responses(
        (status = 200, description = "A new version serves", body = ToolInfo),
        (status = 201, description = "The tool is new", body = ToolInfo), NotFound, NameTaken, TooMany, RegistryFailed, WorkerLost))]
pub(crate) async fn put_tool(
    State(tools): State<Arc<Tools>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<ToolInfo>), ApiError> {
    let deployment = tool_upload::read(&tools, &caller, request).await?;
    let (tool, made) = tools.deploy(&caller, &name, deployment).await?;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(ToolInfo::from(&*tool))))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    /// Return names after this one.
    #[serde(default)]
    after: String,
    /// Page size, up to 1,000.
    limit: Option<usize>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ToolList {
    tools: Vec<ToolSummary>,
    /// The next page's `after`; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// List tools by name.
#[utoipa::path(get, path = "/v1/tools", tag = "tools", params(Page), responses((status = 200, body = ToolList), WorkerLost))]
pub(crate) async fn list_tools(
    State(tools): State<Arc<Tools>>,
    Extension(caller): Extension<Arc<Caller>>,
    Query(page): Query<Page>,
) -> Result<Json<ToolList>, ApiError> {
    let limit = page.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
    let (tools, next) = tools.list(&caller, &page.after, limit).await?;
    Ok(Json(ToolList { tools: tools.iter().map(|tool| ToolSummary::from(&**tool)).collect(), next }))
}

/// Show a tool: functions with their schemas, effective grants and their limits, versions.
#[utoipa::path(get, path = "/v1/tools/{name}", tag = "tools", params(("name" = String, Path)),
    responses((status = 200, body = ToolInfo), NotFound, WorkerLost))]
pub(crate) async fn get_tool(
    State(tools): State<Arc<Tools>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<Json<ToolInfo>, ApiError> {
    Ok(Json(tools.show(&caller, &name).await?))
}

/// Delete a tool and all its versions.
#[utoipa::path(delete, path = "/v1/tools/{name}", tag = "tools", params(("name" = String, Path)),
    responses((status = 204, description = "Deleted"), NotFound, WorkerLost))]
pub(crate) async fn delete_tool(
    State(tools): State<Arc<Tools>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    tools.delete(&caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackRequest {
    /// The digest or the number of a kept version; the previous version by default.
    #[serde(default)]
    version: Option<VersionName>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum VersionName {
    Number(u32),
    Digest(String),
}

/// Roll back to a version that is kept.
#[utoipa::path(post, path = "/v1/tools/{name}/rollback", tag = "tools", params(("name" = String, Path)),
    request_body = RollbackRequest,
    responses((status = 200, body = ToolInfo), NotFound, NameTaken, WorkerLost))]
pub(crate) async fn rollback_tool(
    State(tools): State<Arc<Tools>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
    Json(request): Json<RollbackRequest>,
) -> Result<Json<ToolInfo>, ApiError> {
    let version = request.version.map(|version| match version {
        VersionName::Number(number) => number.to_string(),
        VersionName::Digest(digest) => digest,
    });
    let tool = tools.rollback(&caller, &name, version.as_deref()).await?;
    Ok(Json(ToolInfo::from(&*tool)))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PushRequest {
    /// `registry/repository:tag`.
    oci: String,
}

/// Push a tool's component to a registry that the operator allows.
#[utoipa::path(post, path = "/v1/tools/{name}/push", tag = "tools", params(("name" = String, Path)),
    request_body = PushRequest,
    responses((status = 200, body = PushedTool), NotFound, RegistryFailed, WorkerLost))]
pub(crate) async fn push_tool(
    State(tools): State<Arc<Tools>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
    Json(request): Json<PushRequest>,
) -> Result<Json<PushedTool>, ApiError> {
    Ok(Json(tools.push(&caller, &name, &request.oci).await?))
}

/// Call a function of a tool.
///
/// The answer is 200 however the call ended: `status` says how, and `result` is present if it is `ok`. Disconnecting
/// cancels the call.
#[utoipa::path(post, path = "/v1/tools/{name}/functions/{function}", tag = "tools",
    params(("name" = String, Path), ("function" = String, Path)),
    request_body(content = Object, description = "The arguments: an object with a property for each parameter"),
    responses((status = 200, description = "The outcome of the call", body = ToolOutcome), NotFound, TooMany, WorkerLost))]
pub(crate) async fn call_tool(
    State(tools): State<Arc<Tools>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path((name, function)): Path<(String, String)>,
    request: Request,
) -> Result<Json<ToolOutcome>, ApiError> {
    let (parts, body) = request.into_parts();
    let body: Bytes = read_json(&parts.headers, body, MAX_ARGUMENTS_BYTES).await?;
    let arguments = arguments(&body)?;
    Ok(Json(tools.call(&caller, &name, &function, arguments, 0).await?))
}
