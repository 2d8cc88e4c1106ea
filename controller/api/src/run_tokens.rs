//! `/v1/run-tokens`: make, list and end the tokens with which one task of one agent calls models.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::audited::Details;
use crate::refusals::{InvalidValue, NotFound, TooMany};
use cofferdam_contract::Problem;
use cofferdam_core::Caller;
use cofferdam_http::ApiError;
use cofferdam_http::Json;
use cofferdam_identity::{MAX_RUN_TOKEN_PAGE, NewRunToken, RunTokens};
use cofferdam_store::RunTokenRow;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunTokenRequest {
    agent: String,
    task: String,
    /// Seconds until it ends by itself, 1 to 86,400; an hour by default.
    ttl_s: Option<u64>,
    /// Names of models, or patterns with `*`; absent: every model that the key may use.
    models: Option<Vec<String>>,
    /// The most tokens that one answer may have.
    max_tokens: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunTokenInfo {
    id: String,
    agent: String,
    task: String,
    /// The id of the key that made it.
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    /// Unix time in seconds.
    created_at: i64,
    /// Unix time in seconds.
    expires_at: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewToken {
    #[serde(flatten)]
    about: RunTokenInfo,
    /// The token itself. It is never shown again.
    token: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunTokenList {
    run_tokens: Vec<RunTokenInfo>,
    /// The next page's `after`; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EndedTokens {
    /// The number of tokens that lived.
    ended: usize,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunTokenPage {
    /// Only tokens of this task.
    task: Option<String>,
    /// Page size, 1 to 1,000.
    #[serde(default = "default_page")]
    limit: u32,
    /// `next` of the previous page.
    #[serde(default)]
    after: String,
}

fn default_page() -> u32 {
    100
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OfTask {
    /// The task that has ended.
    task: String,
}

impl From<RunTokenRow> for RunTokenInfo {
    fn from(row: RunTokenRow) -> Self {
        let RunTokenRow { id, agent, task, key, models, max_tokens, created_at, expires_at, .. } = row;
        Self { id, agent, task, key, models, max_tokens, created_at, expires_at }
    }
}

/// Make a run token.
///
/// It calls models on behalf of one task of one agent, and opens no other address. It ends with its time, with its task, or
/// with the key that made it.
#[utoipa::path(post, path = "/v1/run-tokens", tag = "models", request_body = RunTokenRequest,
    responses((status = 201, body = NewToken), TooMany))]
pub(crate) async fn create_run_token(
    State(tokens): State<Arc<RunTokens>>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(details): Extension<Details>,
    Json(request): Json<RunTokenRequest>,
) -> Result<(StatusCode, Json<NewToken>), ApiError> {
    let RunTokenRequest { agent, task, ttl_s, models, max_tokens } = request;
    let (row, token) = tokens.mint(&caller, NewRunToken { agent, task, ttl_s, models, max_tokens }).await?;
    details.target(&row.id);
    details.add(serde_json::json!({"agent": row.agent, "task": row.task}));
    Ok((StatusCode::CREATED, Json(NewToken { about: row.into(), token: token.expose().to_owned() })))
}

/// List the organization's living run tokens, without the tokens themselves.
#[utoipa::path(get, path = "/v1/run-tokens", tag = "models", params(RunTokenPage),
    responses((status = 200, body = RunTokenList), InvalidValue))]
pub(crate) async fn list_run_tokens(
    State(tokens): State<Arc<RunTokens>>,
    Extension(caller): Extension<Arc<Caller>>,
    Query(page): Query<RunTokenPage>,
) -> Result<Json<RunTokenList>, ApiError> {
    if !(1..=MAX_RUN_TOKEN_PAGE).contains(&page.limit) {
        return Err(Problem::invalid(format!("limit: 1 to {MAX_RUN_TOKEN_PAGE}")).into());
    }
    let found = tokens.list(&caller, page.task.as_deref(), &page.after, page.limit).await?;
    let run_tokens = found.tokens.into_iter().map(RunTokenInfo::from).collect();
    Ok(Json(RunTokenList { run_tokens, next: found.next }))
}

/// End a run token, and its calls that are under way.
#[utoipa::path(delete, path = "/v1/run-tokens/{id}", tag = "models", params(("id" = String, Path)),
    responses((status = 204, description = "Ended"), NotFound))]
pub(crate) async fn delete_run_token(
    State(tokens): State<Arc<RunTokens>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    tokens.end(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// End all run tokens of a task, and their calls that are under way.
#[utoipa::path(delete, path = "/v1/run-tokens", tag = "models", params(OfTask),
    responses((status = 200, body = EndedTokens)))]
pub(crate) async fn delete_run_tokens(
    State(tokens): State<Arc<RunTokens>>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(details): Extension<Details>,
    Query(OfTask { task }): Query<OfTask>,
) -> Result<Json<EndedTokens>, ApiError> {
    details.add(serde_json::json!({"task": task}));
    Ok(Json(EndedTokens { ended: tokens.end_task(&caller, &task).await? }))
}
