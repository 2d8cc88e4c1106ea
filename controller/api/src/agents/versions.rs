//! Versions of a definition over HTTP: listed, shown, compared.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use cofferdam_agents::{Agents, FieldChange, VersionView, diff};
use cofferdam_contract::Problem;
use cofferdam_core::Caller;
use cofferdam_http::{ApiError, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::agent_id;
use crate::refusals::NotFound;

const DEFAULT_PAGE: u32 = 50;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct VersionPage {
    /// Return versions below this one.
    before: Option<u64>,
    /// Page size, up to 1,000; 50 by default.
    limit: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VersionList {
    versions: Vec<VersionView>,
    /// The next page's `before`; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// List an agent's versions, newest first.
#[utoipa::path(get, path = "/v1/agents/{id}/versions", tag = "agents", params(("id" = String, Path), VersionPage),
    responses((status = 200, body = VersionList), NotFound))]
pub(super) async fn list_versions(
    State(agents): State<Arc<Agents>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    Query(page): Query<VersionPage>,
) -> Result<Json<VersionList>, ApiError> {
    let limit = page.limit.unwrap_or(DEFAULT_PAGE).clamp(1, 1_000);
    let mut versions = agents.versions(&caller, &agent_id(&id)?, page.before, limit.saturating_add(1)).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = versions.len() > limit;
    versions.truncate(limit);
    let next = versions.last().filter(|_| more).map(|version| version.version);
    Ok(Json(VersionList { versions, next }))
}

/// Show one version of an agent.
#[utoipa::path(get, path = "/v1/agents/{id}/versions/{version}", tag = "agents",
    params(("id" = String, Path), ("version" = u64, Path)), responses((status = 200, body = VersionView), NotFound))]
pub(super) async fn get_version(
    State(agents): State<Arc<Agents>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path((id, version)): Path<(String, u64)>,
) -> Result<Json<VersionView>, ApiError> {
    Ok(Json(agents.show_version(&caller, &agent_id(&id)?, version).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Compared {
    /// The active version by default.
    from: Option<u64>,
    /// The draft by default, else the active version.
    to: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Difference {
    from: u64,
    to: u64,
    changes: Vec<FieldChange>,
}

/// Compare two versions of an agent, field by field.
#[utoipa::path(get, path = "/v1/agents/{id}/diff", tag = "agents", params(("id" = String, Path), Compared),
    responses((status = 200, body = Difference), NotFound))]
pub(super) async fn diff_versions(
    State(agents): State<Arc<Agents>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
    Query(compared): Query<Compared>,
) -> Result<Json<Difference>, ApiError> {
    let id = agent_id(&id)?;
    let agent = agents.show(&caller, &id).await?;
    let none =
        || Problem::not_found(format!("The agent {id} has no such version; GET /v1/agents/{id}/versions lists them."));
    let from = compared.from.or(agent.active_version).or(agent.draft_version).ok_or_else(none)?;
    let to = compared.to.or(agent.draft_version).or(agent.active_version).ok_or_else(none)?;
    let (old, new) = (agents.show_version(&caller, &id, from).await?, agents.show_version(&caller, &id, to).await?);
    Ok(Json(Difference { from, to, changes: diff(&old.definition, &new.definition) }))
}
