//! `/v1/organizations`: create, list, show, change and delete organizations.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use crate::audited::Details;
use crate::keys::{NewKey, given};
use crate::refusals::{InvalidValue, NotFound, StillRuns, TooMany, UsedId};
use cofferdam_contract::Problem;
use cofferdam_core::{Caller, OrganizationLimits};
use cofferdam_http::{ApiError, Json};
use cofferdam_identity::{MAX_ORGANIZATION_PAGE, OrganizationPatch, OrganizationRequest, Organizations};
use cofferdam_store::OrganizationRow;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrganizationSpec {
    /// 1 to 63 of `a-z`, `0-9` and `-`; a random one without it. Never used again.
    id: Option<String>,
    /// The name that people read; the id without it.
    name: Option<String>,
    /// The most requests a minute of all its keys.
    requests_per_minute: Option<u32>,
    /// The most runs of code and calls of tools at the same time.
    max_concurrent_runs: Option<u32>,
    /// The most tasks of agents at work at the same time.
    max_concurrent_tasks: Option<u32>,
}

/// Absent fields stay as they are; null takes a limit away.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrganizationChange {
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    requests_per_minute: Option<Option<u32>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    max_concurrent_runs: Option<Option<u32>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    max_concurrent_tasks: Option<Option<u32>>,
    /// True: its keys are refused until this is false again.
    disabled: Option<bool>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Organization {
    id: String,
    name: String,
    /// Unix time in seconds.
    created_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_minute: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_concurrent_runs: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_concurrent_tasks: Option<u32>,
    /// Unix time in seconds since which its keys are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_at: Option<i64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MadeOrganization {
    organization: Organization,
    /// Its first key, with the scope `admin`.
    key: NewKey,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrganizationList {
    organizations: Vec<Organization>,
    /// The next page's `after`; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OrganizationPage {
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
pub(crate) struct Force {
    /// End what runs of it, too.
    #[serde(default)]
    force: bool,
}

impl From<OrganizationRow> for Organization {
    fn from(row: OrganizationRow) -> Self {
        let OrganizationRow { id, name, limits, disabled_at, created_at } = row;
        let OrganizationLimits { requests_per_minute, max_concurrent_runs, max_concurrent_tasks } = limits;
        Self {
            name: if name.is_empty() { id.to_string() } else { name },
            id: id.into(),
            created_at,
            requests_per_minute,
            max_concurrent_runs,
            max_concurrent_tasks,
            disabled_at,
        }
    }
}

/// Create an organization and its first key. Only an operator's key does that.
#[utoipa::path(post, path = "/v1/organizations", tag = "organizations", request_body = OrganizationSpec,
    responses((status = 201, body = MadeOrganization), UsedId, TooMany))]
pub(crate) async fn create_organization(
    State(organizations): State<Arc<Organizations>>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(details): Extension<Details>,
    Json(request): Json<OrganizationSpec>,
) -> Result<(StatusCode, Json<MadeOrganization>), ApiError> {
    let OrganizationSpec { id, name, requests_per_minute, max_concurrent_runs, max_concurrent_tasks } = request;
    let limits = OrganizationLimits { requests_per_minute, max_concurrent_runs, max_concurrent_tasks };
    let made = organizations.create(&caller, OrganizationRequest { id, name, limits }).await?;
    details.target(made.organization.id.as_str());
    details.add(json!({"first_key": made.key.id}));
    let key = NewKey::new(made.key, &made.text);
    Ok((StatusCode::CREATED, Json(MadeOrganization { organization: made.organization.into(), key })))
}

/// List the organizations; a key that manages none sees its own.
#[utoipa::path(get, path = "/v1/organizations", tag = "organizations", params(OrganizationPage),
    responses((status = 200, body = OrganizationList), InvalidValue))]
pub(crate) async fn list_organizations(
    State(organizations): State<Arc<Organizations>>,
    Extension(caller): Extension<Arc<Caller>>,
    Query(page): Query<OrganizationPage>,
) -> Result<Json<OrganizationList>, ApiError> {
    if !(1..=MAX_ORGANIZATION_PAGE).contains(&page.limit) {
        return Err(Problem::invalid(format!("limit: 1 to {MAX_ORGANIZATION_PAGE}")).into());
    }
    let found = organizations.list(&caller, &page.after, page.limit).await?;
    let list = found.organizations.into_iter().map(Organization::from).collect();
    Ok(Json(OrganizationList { organizations: list, next: found.next }))
}

/// Show an organization.
#[utoipa::path(get, path = "/v1/organizations/{id}", tag = "organizations", params(("id" = String, Path)),
    responses((status = 200, body = Organization), NotFound))]
pub(crate) async fn get_organization(
    State(organizations): State<Arc<Organizations>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(id): Path<String>,
) -> Result<Json<Organization>, ApiError> {
    Ok(Json(organizations.find(&caller, &id).await?.into()))
}

/// Change an organization's name or limits, or disable it. Only an operator's key does that.
#[utoipa::path(patch, path = "/v1/organizations/{id}", tag = "organizations", params(("id" = String, Path)),
    request_body = OrganizationChange, responses((status = 200, body = Organization), NotFound, StillRuns))]
pub(crate) async fn patch_organization(
    State(organizations): State<Arc<Organizations>>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(details): Extension<Details>,
    Path(id): Path<String>,
    Json(request): Json<OrganizationChange>,
) -> Result<Json<Organization>, ApiError> {
    let OrganizationChange { name, requests_per_minute, max_concurrent_runs, max_concurrent_tasks, disabled } = request;
    let patch = OrganizationPatch { name, requests_per_minute, max_concurrent_runs, max_concurrent_tasks, disabled };
    let row: Organization = organizations.patch(&caller, &id, patch).await?.into();
    details.add(serde_json::to_value(&row).unwrap_or_default());
    Ok(Json(row))
}

/// Give an organization one more key with the scope `admin`. Only an operator's key does that.
#[utoipa::path(post, path = "/v1/organizations/{id}/keys", tag = "organizations", params(("id" = String, Path)),
    responses((status = 201, body = NewKey), NotFound))]
pub(crate) async fn create_organization_key(
    State(organizations): State<Arc<Organizations>>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(details): Extension<Details>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<NewKey>), ApiError> {
    let (row, key) = organizations.give_key(&caller, &id).await?;
    details.add(json!({"key": row.id}));
    Ok((StatusCode::CREATED, Json(NewKey::new(row, &key))))
}

/// Delete an organization; its keys end at once. Only an operator's key does that.
#[utoipa::path(delete, path = "/v1/organizations/{id}", tag = "organizations", params(("id" = String, Path), Force),
    responses((status = 204, description = "Deleted"), NotFound, StillRuns))]
pub(crate) async fn delete_organization(
    State(organizations): State<Arc<Organizations>>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(details): Extension<Details>,
    Path(id): Path<String>,
    Query(Force { force }): Query<Force>,
) -> Result<StatusCode, ApiError> {
    details.add(json!({"force": force}));
    organizations.delete(&caller, &id, force).await?;
    Ok(StatusCode::NO_CONTENT)
}
