//! `/v1/audit`: the organization's audit log, the newest entries first.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::refusals::InvalidValue;
use cofferdam_contract::{Problem, Timestamp};
use cofferdam_core::Caller;
use cofferdam_http::{ApiError, Json};
use cofferdam_identity::{Audit, AuditFilter, MAX_AUDIT_PAGE};
use cofferdam_store::AuditRow;

/// The longest value of a parameter, in bytes.
const MAX_PARAMETER: usize = 100;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditParameters {
    /// Only entries after the one with this id.
    after: Option<String>,
    /// Only entries before the one with this id: `next` of the previous page.
    before: Option<String>,
    /// An action, or its first part: `key` finds `key.create`.
    action: Option<String>,
    /// The id of a key.
    key: Option<String>,
    /// Page size, 1 to 1,000.
    #[serde(default = "default_page")]
    limit: u32,
}

fn default_page() -> u32 {
    100
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEntry {
    id: String,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The id of the key; absent if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    action: String,
    /// The id or name of what was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// `done`, `failed`, `unknown` (the caller went away meanwhile), or `refused`.
    outcome: String,
    /// The peer's address: a proxy's, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[schema(value_type = Object)]
    detail: serde_json::Value,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditList {
    entries: Vec<AuditEntry>,
    /// The next page's `before`; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl From<AuditRow> for AuditEntry {
    fn from(row: AuditRow) -> Self {
        let known = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            id: row.id,
            at: Timestamp(row.at_ms),
            key: known(row.key),
            action: row.action,
            target: known(row.target),
            outcome: row.outcome,
            address: known(row.address),
            detail: serde_json::from_str(&row.detail).unwrap_or_default(),
        }
    }
}

/// List what was changed, by whom, and which callers were refused.
#[utoipa::path(get, path = "/v1/audit", tag = "organizations", params(AuditParameters),
    responses((status = 200, body = AuditList), InvalidValue))]
pub(crate) async fn list_audit(
    State(audit): State<Arc<Audit>>,
    Extension(caller): Extension<Arc<Caller>>,
    Query(asked): Query<AuditParameters>,
) -> Result<Json<AuditList>, ApiError> {
    let AuditParameters { after, before, action, key, limit } = asked;
    if !(1..=MAX_AUDIT_PAGE).contains(&limit) {
        return Err(Problem::invalid(format!("limit: 1 to {MAX_AUDIT_PAGE}")).into());
    }
    for (field, value) in [("after", &after), ("before", &before), ("action", &action), ("key", &key)] {
        if value.as_ref().is_some_and(|value| value.len() > MAX_PARAMETER) {
            return Err(Problem::invalid(format!("{field}: at most {MAX_PARAMETER} bytes")).into());
        }
    }
    let page = audit.list(&caller, AuditFilter { after, before, action, key }, limit).await?;
    Ok(Json(AuditList { entries: page.entries.into_iter().map(AuditEntry::from).collect(), next: page.next }))
}
