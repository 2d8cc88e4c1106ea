//! Ways to models and their prices: upstreams, aliases, rules, prices, budgets, privacy, usage. Handlers only map;
//! `cofferdam_models` and `cofferdam_usage` decide. No key is ever in an answer.

mod budgets;
mod calls;
mod costs;
mod documents;
mod privacy;
mod upstreams;
mod usage;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::services::Services;

/// Routes that need `read`.
pub(crate) fn read() -> OpenApiRouter<Services> {
    OpenApiRouter::new()
        .routes(routes!(upstreams::list_upstreams))
        .routes(routes!(upstreams::get_upstream))
        .routes(routes!(documents::aliases::list_model_aliases))
        .routes(routes!(documents::aliases::get_model_alias))
        .routes(routes!(documents::rules::list_model_rules))
        .routes(routes!(documents::rules::get_model_rule))
        .routes(routes!(documents::prices::list_model_prices))
        .routes(routes!(documents::prices::get_model_price))
        .routes(routes!(costs::get_model_costs))
        .routes(routes!(budgets::list_budgets))
        .routes(routes!(budgets::get_budget))
        .routes(routes!(privacy::get_model_privacy))
        .routes(routes!(usage::get_usage))
        .routes(routes!(calls::list_model_calls))
        .routes(routes!(calls::get_model_call))
}

/// Routes that need `admin`.
pub(crate) fn admin() -> OpenApiRouter<Services> {
    OpenApiRouter::new()
        .routes(routes!(upstreams::put_upstream))
        .routes(routes!(upstreams::delete_upstream))
        .routes(routes!(upstreams::test_upstream))
        .routes(routes!(upstreams::test_unsaved_upstream))
        .routes(routes!(documents::aliases::put_model_alias))
        .routes(routes!(documents::aliases::delete_model_alias))
        .routes(routes!(documents::rules::put_model_rule))
        .routes(routes!(documents::rules::delete_model_rule))
        .routes(routes!(documents::prices::put_model_price))
        .routes(routes!(documents::prices::delete_model_price))
        .routes(routes!(budgets::put_budget))
        .routes(routes!(budgets::delete_budget))
        .routes(routes!(privacy::put_model_privacy))
}
