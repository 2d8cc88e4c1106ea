//! `/v1/tools`: deploy, list, show, call, roll back, delete.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, Request, State};
use bytes::Bytes;
use cofferdam_contract::ToolOutcome;
use cofferdam_contract::tool::MAX_ARGUMENTS_BYTES;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::json::{self, Json};
use super::tool_upload;
use crate::Error;
use crate::auth::Caller;
use crate::oci::Pushed;
use crate::services::App;
use crate::services::tools::{self, ToolInfo, ToolSummary};

/// The most tools on one page.
const MOST: usize = 1_000;
const USUAL: usize = 100;

/// Deploy a tool, or a new version of it.
///
/// The body is the component (`application/wasm`, with `?grants=` or `?policy=`), a form with the parts `component` and
/// `grants`, `policy`, `limits`, or JSON with an OCI reference. The version before serves until the new one has compiled
/// and answered.
#[utoipa::path(put, path = "/v1/tools/{name}", tag = "tools",
    params(("name" = String, Path, description = "1 to 64 of a-z, 0-9 and `-`"), tool_upload::Asked),
    request_body(content(
        (Vec<u8> = "application/wasm"), (tool_upload::Form = "multipart/form-data"), (tool_upload::FromRegistry = "application/json"))),
    responses(
        (status = 200, description = "A new version serves", body = ToolInfo),
        (status = 201, description = "The tool is new", body = ToolInfo),
    ))]
pub async fn put_tool(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<ToolInfo>), Error> {
    let deployment = tool_upload::read(&app, &caller, request).await?;
    let (tool, made) = tools::deploy(&app, &caller, &name, deployment).await?;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(ToolInfo::from(&*tool))))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Names after this one.
    #[serde(default)]
    after: String,
    /// At most so many, up to 1,000.
    limit: Option<usize>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ToolList {
    tools: Vec<ToolSummary>,
    /// Where there are more: what to send as `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// List tools by name.
#[utoipa::path(get, path = "/v1/tools", tag = "tools", params(Page), responses((status = 200, body = ToolList)))]
pub async fn list_tools(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Query(page): Query<Page>,
) -> Result<Json<ToolList>, Error> {
    let most = page.limit.unwrap_or(USUAL).clamp(1, MOST);
    let (tools, next) = tools::list(&app, &caller, &page.after, most).await?;
    Ok(Json(ToolList { tools: tools.iter().map(|tool| ToolSummary::from(&**tool)).collect(), next }))
}

/// Show a tool: its functions with their schemas, its effective grants and who limited what, its versions.
#[utoipa::path(get, path = "/v1/tools/{name}", tag = "tools", params(("name" = String, Path)),
    responses((status = 200, body = ToolInfo)))]
pub async fn get_tool(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<Json<ToolInfo>, Error> {
    Ok(Json(tools::show(&app, &caller, &name).await?))
}

/// Delete a tool and all its versions.
#[utoipa::path(delete, path = "/v1/tools/{name}", tag = "tools", params(("name" = String, Path)),
    responses((status = 204, description = "Deleted")))]
pub async fn delete_tool(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Error> {
    tools::delete(&app, &caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The digest or the number of a version that is kept; the one before where it is left out.
    #[serde(default)]
    version: Option<VersionName>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum VersionName {
    Number(u32),
    Digest(String),
}

/// Go back to a version that is kept.
#[utoipa::path(post, path = "/v1/tools/{name}/rollback", tag = "tools", params(("name" = String, Path)),
    request_body = RollbackRequest,
    responses((status = 200, body = ToolInfo)))]
pub async fn rollback_tool(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
    Json(request): Json<RollbackRequest>,
) -> Result<Json<ToolInfo>, Error> {
    let version = request.version.map(|version| match version {
        VersionName::Number(number) => number.to_string(),
        VersionName::Digest(digest) => digest,
    });
    let tool = tools::rollback(&app, &caller, &name, version.as_deref()).await?;
    Ok(Json(ToolInfo::from(&*tool)))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PushRequest {
    /// `registry/repository:tag`.
    oci: String,
}

/// Push a tool's component to a registry that the operator names.
#[utoipa::path(post, path = "/v1/tools/{name}/push", tag = "tools", params(("name" = String, Path)),
    request_body = PushRequest,
    responses((status = 200, body = Pushed)))]
pub async fn push_tool(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
    Json(request): Json<PushRequest>,
) -> Result<Json<Pushed>, Error> {
    Ok(Json(tools::push(&app, &caller, &name, &request.oci).await?))
}

/// Call a function of a tool.
///
/// The answer is 200 however the call ended: `status` says how, and `result` is there where it is `ok`. A client that
/// goes away cancels the call.
#[utoipa::path(post, path = "/v1/tools/{name}/functions/{function}", tag = "tools",
    params(("name" = String, Path), ("function" = String, Path)),
    request_body(content = Object, description = "The arguments: an object with a property for each parameter"),
    responses((status = 200, description = "How the call ended", body = ToolOutcome)))]
pub async fn call_tool(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    Path((name, function)): Path<(String, String)>,
    request: Request,
) -> Result<Json<ToolOutcome>, Error> {
    let (parts, body) = request.into_parts();
    let body: Bytes = json::read(&parts.headers, body, MAX_ARGUMENTS_BYTES).await?;
    let arguments = tools::arguments(&body)?;
    Ok(Json(tools::call(&app, &caller, &name, &function, arguments, 0).await?))
}
