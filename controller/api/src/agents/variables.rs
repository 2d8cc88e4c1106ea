//! `/v1/variables`: the variables that every agent of the organization gets. Values are write-only.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use cofferdam_contract::Problem;
use serde::Serialize;
use utoipa::ToSchema;

use super::containers::Changes;
use cofferdam_core::Caller;
use cofferdam_environments::{VariableInfo, Variables};
use cofferdam_http::ApiError;
use cofferdam_http::Json;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VariableList {
    variables: Vec<VariableInfo>,
}

/// List the variables that every agent of the organization gets, without their values.
#[utoipa::path(get, path = "/v1/variables", tag = "environments", responses((status = 200, body = VariableList)))]
pub(super) async fn list_variables(
    State(variables): State<Arc<Variables>>,
    Extension(caller): Extension<Arc<Caller>>,
) -> Result<Json<VariableList>, ApiError> {
    Ok(Json(VariableList { variables: variables.list(&caller).await? }))
}

/// Set variables that every agent of the organization gets; `null` deletes one. All of them or none.
///
/// Values are strings and are kept verbatim: `"007"` stays `007`. Agents get them at their next start.
#[utoipa::path(patch, path = "/v1/variables", tag = "environments",
    request_body(content = BTreeMap<String, Option<String>>, description = "Names and values"),
    responses((status = 200, description = "All variables", body = VariableList),
        (status = 422, description = "An invalid name or value", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Limit reached", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn patch_variables(
    State(variables): State<Arc<Variables>>,
    Extension(caller): Extension<Arc<Caller>>,
    Json(changes): Json<Changes>,
) -> Result<Json<VariableList>, ApiError> {
    variables.sync(&caller, &changes.0).await?;
    Ok(Json(VariableList { variables: variables.list(&caller).await? }))
}
