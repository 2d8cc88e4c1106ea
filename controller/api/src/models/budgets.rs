//! `/v1/budgets`: at most so many requests, tokens or dollars for an organization, key, agent or task; with what is used now.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use cofferdam_core::Caller;
use cofferdam_http::{ApiError, Json};
use cofferdam_models::Settings;
use cofferdam_models::settings::{Document, DocumentKind, DocumentOwner};
use cofferdam_usage::{Accounts, Budget, BudgetSpec, BudgetState};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::refusals::{NotFound, TooMany};

#[derive(Serialize, ToSchema)]
pub(super) struct BudgetInfo {
    name: String,
    /// Always the organization: the operator has no budgets.
    owner: DocumentOwner,
    /// Unix time in seconds.
    created_at: Option<i64>,
    /// Unix time in seconds of the last change.
    updated_at: Option<i64>,
    #[serde(flatten)]
    spec: BudgetSpec,
    /// The accounts of the window that runs now, the most used ones first, at most 100.
    accounts: Vec<BudgetAccount>,
}

/// The amount that one key, agent or task, or the organization, has used of a budget.
#[derive(Serialize, ToSchema)]
pub(super) struct BudgetAccount {
    /// The key's id, or the name of the agent or task; none for the organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// Requests, tokens, or dollars as a decimal text.
    used: String,
    /// Set aside for calls that are running.
    held: String,
    limit: String,
    /// Unix time in seconds at which it is full again; none for a task's.
    #[serde(skip_serializing_if = "Option::is_none")]
    resets_at: Option<i64>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct BudgetList {
    budgets: Vec<BudgetInfo>,
}

impl BudgetAccount {
    fn of(state: BudgetState) -> Self {
        let show = |amount| state.unit.show(amount);
        Self {
            used: show(state.used),
            held: show(state.held),
            limit: show(state.limit),
            resets_at: state.resets_at_ms.map(|ms| ms.div_euclid(1_000)),
            subject: state.subject,
        }
    }
}

/// Adds what is used to budgets.
async fn with_accounts(
    accounts: &Accounts,
    caller: &Caller,
    documents: Vec<Document<BudgetSpec>>,
) -> Result<Vec<BudgetInfo>, ApiError> {
    let budget = |document: &Document<BudgetSpec>| {
        let (name, spec) = (document.name.clone(), document.spec.clone());
        Arc::new(Budget { name, organization: caller.organization.clone(), spec })
    };
    let budgets: Vec<_> = documents.iter().map(budget).collect();
    let mut states: BTreeMap<String, Vec<BudgetAccount>> = BTreeMap::new();
    for state in accounts.spent(&caller.organization, &budgets).await? {
        states.entry(state.budget.clone()).or_default().push(BudgetAccount::of(state));
    }
    let info = |document: Document<BudgetSpec>| BudgetInfo {
        accounts: states.remove(&document.name).unwrap_or_default(),
        name: document.name,
        owner: document.owner,
        created_at: document.created_at,
        updated_at: document.updated_at,
        spec: document.spec,
    };
    Ok(documents.into_iter().map(info).collect())
}

async fn one(accounts: &Accounts, caller: &Caller, document: Document<BudgetSpec>) -> Result<BudgetInfo, ApiError> {
    let name = document.name.clone();
    let found = with_accounts(accounts, caller, vec![document]).await?.pop();
    found.ok_or_else(|| cofferdam_contract::Problem::not_found(format!("There is no budget {name:?}.")).into())
}

/// Create a budget, or replace the one with this name. What is used already counts on.
#[utoipa::path(put, path = "/v1/budgets/{name}", tag = "models", params(("name" = String, Path)),
    request_body = BudgetSpec, responses((status = 201, description = "Made", body = BudgetInfo),
    (status = 200, description = "Changed", body = BudgetInfo), TooMany))]
pub(super) async fn put_budget(
    State(settings): State<Arc<Settings>>,
    State(accounts): State<Arc<Accounts>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
    Json(spec): Json<BudgetSpec>,
) -> Result<(StatusCode, Json<BudgetInfo>), ApiError> {
    let (document, new) = settings.put(&caller.organization, &name, spec).await?;
    let info = one(&accounts, &caller, document).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(info)))
}

/// List the budgets with what is used of them.
#[utoipa::path(get, path = "/v1/budgets", tag = "models", responses((status = 200, body = BudgetList)))]
pub(super) async fn list_budgets(
    State(settings): State<Arc<Settings>>,
    State(accounts): State<Arc<Accounts>>,
    Extension(caller): Extension<Arc<Caller>>,
) -> Result<Json<BudgetList>, ApiError> {
    let documents = settings.list::<BudgetSpec>(&caller.organization).await?;
    Ok(Json(BudgetList { budgets: with_accounts(&accounts, &caller, documents).await? }))
}

/// Show a budget with what is used of it.
#[utoipa::path(get, path = "/v1/budgets/{name}", tag = "models", params(("name" = String, Path)),
    responses((status = 200, body = BudgetInfo), NotFound))]
pub(super) async fn get_budget(
    State(settings): State<Arc<Settings>>,
    State(accounts): State<Arc<Accounts>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<Json<BudgetInfo>, ApiError> {
    let document = settings.get::<BudgetSpec>(&caller.organization, &name).await?;
    Ok(Json(one(&accounts, &caller, document).await?))
}

/// Delete a budget.
#[utoipa::path(delete, path = "/v1/budgets/{name}", tag = "models", params(("name" = String, Path)),
    responses((status = 204, description = "Deleted"), NotFound))]
pub(super) async fn delete_budget(
    State(settings): State<Arc<Settings>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    settings.delete(&caller.organization, DocumentKind::Budget, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
