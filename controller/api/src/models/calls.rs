//! `/v1/usage/calls`: the records of single calls, as JSON or as CSV, and the stored texts of one for those who administer.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use cofferdam_contract::Problem;
use cofferdam_core::{Caller, Scope};
use cofferdam_http::{ApiError, Json};
use cofferdam_usage::{Accounts, By, CallPage, CallQuery, Content, ModelCallRow, dollars, when};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::usage::{Format, csv, invalid, sensible, time, wants_csv};
use crate::refusals::{InvalidValue, NotFound};

/// Records of a page, if the question does not say.
const DEFAULT_PAGE: usize = 100;
/// `next` beside a page as CSV.
const NEXT: HeaderName = HeaderName::from_static("x-cofferdam-next");

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AskedCalls {
    /// From this time on: an RFC 3339 time, a date (UTC), or Unix time in seconds. Without it, from the oldest record on.
    from: Option<String>,
    /// Before this time; a date is meant with the whole day. Without it, up to now.
    to: Option<String>,
    /// Only the calls of the key with this id.
    key: Option<String>,
    /// Only the calls for this agent.
    agent: Option<String>,
    /// Only the calls of this task.
    task: Option<String>,
    /// Only calls that asked for this name.
    model: Option<String>,
    /// Only calls that this model answered.
    served: Option<String>,
    upstream: Option<String>,
    door: Option<String>,
    ending: Option<String>,
    /// `next` of the previous page.
    after: Option<String>,
    /// Page size, 1 to 1,000; 100 without it.
    limit: Option<usize>,
    /// `csv`, or `json`; without it, as `Accept` says.
    #[param(inline)]
    format: Option<Format>,
}

/// The record of a call.
#[derive(Serialize, ToSchema)]
pub(super) struct CallRecord {
    /// `x-cofferdam-call` of the call's answer.
    id: String,
    /// The call's start, as an RFC 3339 time.
    at: String,
    /// The id of the key.
    key: String,
    agent: Option<String>,
    task: Option<String>,
    door: String,
    /// The model that was asked for.
    model: String,
    upstream: Option<String>,
    /// The model that answered, or was to answer, without the upstream's name.
    served: Option<String>,
    /// Requests that went to upstreams.
    tries: u64,
    /// All tokens that went in, those of the caches too.
    input_tokens: u64,
    cached_tokens: u64,
    cache_written_tokens: u64,
    /// All tokens that came out, those of thinking too.
    output_tokens: u64,
    reasoning_tokens: u64,
    /// US dollars as a decimal text.
    cost_usd: String,
    first_token_ms: Option<u64>,
    wall_ms: u64,
    ending: String,
    /// True if the upstream did not say what was used.
    estimated: bool,
}

/// Records, the newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct CallRecords {
    calls: Vec<CallRecord>,
    /// The next page's `after`; absent on the last page. A page with a filter may be short and not the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// One record, with its texts.
#[derive(Serialize, ToSchema)]
pub(super) struct CallWithContent {
    #[serde(flatten)]
    call: CallRecord,
    /// The stored texts; absent if none are stored, or if the key has not the scope `admin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Content>,
}

impl From<ModelCallRow> for CallRecord {
    fn from(row: ModelCallRow) -> Self {
        Self {
            id: row.id,
            at: when(row.at_ms),
            key: row.key,
            agent: row.agent,
            task: row.task,
            door: row.door.into_owned(),
            model: row.asked,
            upstream: row.upstream,
            served: row.served,
            tries: row.tries,
            input_tokens: row.input,
            cached_tokens: row.cached,
            cache_written_tokens: row.cache_written,
            output_tokens: row.output,
            reasoning_tokens: row.reasoning,
            cost_usd: dollars(row.money),
            first_token_ms: row.first_token_ms,
            wall_ms: row.wall_ms,
            ending: row.ending.into_owned(),
            estimated: row.estimated,
        }
    }
}

impl AskedCalls {
    fn query(&self) -> Result<CallQuery, Problem> {
        sensible(&self.ending, (&self.from, &self.to))?;
        let at = |field: &str, text: &Option<String>, end| {
            text.as_deref().map(|text| time(text, end)).transpose().map_err(|why| invalid(field, &why))
        };
        let filters = [
            (By::Key, &self.key),
            (By::Agent, &self.agent),
            (By::Task, &self.task),
            (By::Model, &self.model),
            (By::Served, &self.served),
            (By::Upstream, &self.upstream),
            (By::Door, &self.door),
            (By::Ending, &self.ending),
        ];
        Ok(CallQuery {
            from_ms: at("from", &self.from, false)?,
            to_ms: at("to", &self.to, true)?,
            filters: filters.into_iter().filter_map(|(by, value)| Some((by, value.clone()?))).collect(),
            after: self.after.clone(),
            limit: Some(self.limit.unwrap_or(DEFAULT_PAGE)),
        })
    }
}

/// List the records of the organization's calls of models, the newest first, without their texts.
///
/// For CSV, `next` is in the header `x-cofferdam-next`.
#[utoipa::path(get, path = "/v1/usage/calls", tag = "models", params(AskedCalls),
    responses((status = 200, description = "JSON, or CSV",
        content((CallRecords = "application/json"), (String = "text/csv"))), InvalidValue))]
pub(super) async fn list_model_calls(
    State(accounts): State<Arc<Accounts>>,
    Extension(caller): Extension<Arc<Caller>>,
    headers: HeaderMap,
    Query(asked): Query<AskedCalls>,
) -> Result<Response, ApiError> {
    let page = accounts.calls(&caller.organization, &asked.query()?).await?;
    if wants_csv(asked.format, &headers) {
        let mut response = csv(page.csv(), "calls.csv");
        if let Some(next) = page.next.and_then(|next| HeaderValue::from_str(&next).ok()) {
            response.headers_mut().insert(NEXT, next);
        }
        return Ok(response);
    }
    let CallPage { calls, next } = page;
    Ok(Json(CallRecords { calls: calls.into_iter().map(CallRecord::from).collect(), next }).into_response())
}

/// Show the record of one call, and its texts, if they are stored and the key has the scope `admin`.
#[utoipa::path(get, path = "/v1/usage/calls/{id}", tag = "models",
    params(("id" = String, Path, description = "`x-cofferdam-call` of the call's answer")),
    responses((status = 200, body = CallWithContent), NotFound))]
pub(super) async fn get_model_call(
    State(accounts): State<Arc<Accounts>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<CallWithContent>, ApiError> {
    let missing = || Problem::not_found("There is no record with this id; it may be too old, or not written yet.");
    let call = accounts.call(&caller.organization, &id).await?.ok_or_else(missing)?;
    let content = match caller.scopes.cover(Scope::Admin) {
        true => accounts.content(&caller.organization, &call.id).await?,
        false => None,
    };
    Ok(Json(CallWithContent { call: call.into(), content }))
}
