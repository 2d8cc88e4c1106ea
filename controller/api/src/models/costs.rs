//! `/v1/model-costs`: the prices of names as callers write them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use cofferdam_core::Caller;
use cofferdam_http::{ApiError, Json};
use cofferdam_models::Settings;
use cofferdam_models::settings::ModelCost;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::refusals::InvalidValue;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CostQuery {
    /// Up to 100 names, with commas between them.
    models: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ModelCosts {
    costs: Vec<ModelCost>,
}

/// Show the prices of models, also of aliases: of the one that would be tried first.
#[utoipa::path(get, path = "/v1/model-costs", tag = "models", params(CostQuery),
    responses((status = 200, body = ModelCosts), InvalidValue))]
pub(super) async fn get_model_costs(
    State(settings): State<Arc<Settings>>,
    Extension(caller): Extension<Arc<Caller>>,
    Query(query): Query<CostQuery>,
) -> Result<Json<ModelCosts>, ApiError> {
    let names: Vec<&str> = query.models.split(',').filter(|name| !name.is_empty()).collect();
    Ok(Json(ModelCosts { costs: settings.costs(&caller.organization, &names).await? }))
}
