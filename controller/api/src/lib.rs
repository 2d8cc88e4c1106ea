//! The HTTP API: handlers parse and map, the services below decide. Every route is in this file, grouped by
//! the scope that it needs; every refusal is a problem document.
//!
//! Handlers never touch the store, a cluster or a worker: each gets its own service and nothing else ([`Services`]).

mod agents;
mod audit;
mod audited;
mod base;
mod connectors;
mod flatten;
mod keys;
mod login_pages;
mod metrics;
mod models;
mod observe;
mod openapi;
mod organizations;
mod pass;
mod refusals;
mod require;
mod route_table;
mod run_tokens;
mod runs;
mod secrets;
mod services;
mod session_files;
mod sessions;
mod snapshots;
mod system;
mod tool_upload;
mod tools;
mod work;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::get;
use cofferdam_contract::Problem;
use cofferdam_core::Scope;
use cofferdam_http::{ApiError, plain_refusals};
use cofferdam_identity::{Audit, Keyring, Rates};
use cofferdam_store::Store;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use base::Base;
pub use metrics::Metrics;
pub use observe::Peer;
pub use route_table::{ROUTES, Route, Stranger};
pub use services::{ServiceSet, Services};
pub use system::Status;
pub use work::Invoke;

use observe::observe;
use route_table::{ADMIN, DEPLOY, INVOKE, MCP, READ, RUN, WORK};

/// Routes by the scopes that they need: one of those in the list.
fn groups() -> [(&'static [Scope], OpenApiRouter<Services>); 6] {
    let run = OpenApiRouter::new()
        .routes(routes!(runs::create_run))
        .routes(routes!(sessions::create_session))
        .routes(routes!(sessions::delete_session))
        .routes(routes!(sessions::suspend_session))
        .routes(routes!(sessions::resume_session))
        .routes(routes!(sessions::fork_session))
        .routes(routes!(session_files::put_session_file))
        .routes(routes!(snapshots::create_snapshot))
        .routes(routes!(snapshots::delete_snapshot))
        .routes(routes!(tools::call_tool));
    let deploy = OpenApiRouter::new()
        .routes(routes!(tools::put_tool))
        .routes(routes!(tools::delete_tool))
        .routes(routes!(tools::rollback_tool))
        .routes(routes!(tools::push_tool))
        .routes(routes!(run_tokens::create_run_token, run_tokens::list_run_tokens, run_tokens::delete_run_tokens))
        .routes(routes!(run_tokens::delete_run_token))
        .merge(connectors::deploy())
        .merge(agents::deploy());
    let read = OpenApiRouter::new()
        .routes(routes!(runs::get_run_file))
        .routes(routes!(sessions::list_sessions))
        .routes(routes!(sessions::get_session))
        .routes(routes!(session_files::list_session_files))
        .routes(routes!(session_files::get_session_file))
        .routes(routes!(snapshots::list_snapshots))
        .routes(routes!(tools::list_tools))
        .routes(routes!(tools::get_tool))
        .merge(connectors::read())
        .merge(models::read())
        .merge(agents::read());
    let admin = OpenApiRouter::new()
        .routes(routes!(keys::create_key))
        .routes(routes!(keys::list_keys))
        .routes(routes!(keys::get_key, keys::patch_key, keys::delete_key))
        .routes(routes!(keys::rotate_key))
        .routes(routes!(organizations::create_organization, organizations::list_organizations))
        .routes(routes!(
            organizations::get_organization,
            organizations::patch_organization,
            organizations::delete_organization
        ))
        .routes(routes!(organizations::create_organization_key))
        .routes(routes!(audit::list_audit))
        .routes(routes!(secrets::put_secret))
        .routes(routes!(secrets::list_secrets))
        .routes(routes!(secrets::get_secret))
        .routes(routes!(secrets::delete_secret))
        .merge(models::admin())
        .merge(agents::admin());
    // Making and steering tasks of agents.
    let invoke = work::invoke().merge(connectors::invoke());
    // Reading agents' tasks and threads.
    let work = work::read();
    [(RUN, run), (DEPLOY, deploy), (READ, read), (INVOKE, invoke), (WORK, work), (ADMIN, admin)].map(
        |(needs, mut routes)| {
            openapi::need_key(routes.get_openapi_mut());
            (needs, routes)
        },
    )
}

/// Routes that need no key.
fn open() -> OpenApiRouter<Services> {
    OpenApiRouter::new()
        .routes(routes!(system::health))
        .routes(routes!(system::ready))
        .routes(routes!(system::metrics))
        .routes(routes!(system::openapi))
        .merge(connectors::open())
        .merge(agents::open())
}

/// The whole API and its OpenAPI document. `mcp` answers at `/mcp` for keys with the scope `run` or `invoke`; `models` are the addresses in
/// the protocols of models' providers, which authenticate for themselves.
pub fn router(services: &Services, mcp: Router, models: Router) -> (Router, OpenApi) {
    let keyring: Arc<Keyring> = FromRef::from_ref(services);
    let metrics: Arc<Metrics> = FromRef::from_ref(services);
    let audit: Arc<Audit> = FromRef::from_ref(services);
    let rates: Arc<Rates> = FromRef::from_ref(services);
    let guard = |needs: &'static [Scope]| {
        from_fn_with_state((Arc::clone(&keyring), Arc::clone(&rates), needs), require::require)
    };
    let noted = || from_fn_with_state(Arc::clone(&audit), audited::audited);
    let (router, document) = groups()
        .into_iter()
        // A layer over no routes is refused.
        .filter(|(_, routes)| !routes.get_openapi().paths.paths.is_empty())
        .fold(OpenApiRouter::with_openapi(openapi::frame()), |all, (needs, routes)| {
            // The last layer is the outermost one: a caller first, then the entry of what it changes.
            all.merge(routes.route_layer(noted()).route_layer(guard(needs)))
        })
        .merge(open())
        .split_for_parts();
    let document = openapi::plain_paths(document);
    let router = router
        .with_state(services.clone())
        .merge(mcp.route_layer(guard(MCP)))
        .merge(models)
        .layer(axum::Extension(system::Document::new(&document)))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn(plain_refusals))
        .layer(from_fn_with_state(metrics, observe))
        .layer(axum::extract::DefaultBodyLimit::disable());
    (router, document)
}

/// The parts of a process that serves no API.
#[derive(Clone, FromRef)]
pub struct Operations {
    pub status: Arc<Status>,
    pub metrics: Arc<Metrics>,
    pub keyring: Arc<Keyring>,
    pub store: Store,
}

/// The routes of a process that serves no API: health, readiness and metrics of an aws-operator.
pub fn operations(state: Operations) -> Router {
    let served = "This process is an aws-operator and only serves /health, /ready and /metrics.";
    bare(state, Router::new().fallback(async move || ApiError::from(Problem::not_found(served))))
}

/// The routes of an ai-gateway: those of models, health, readiness and metrics.
pub fn models_only(state: Operations, models: Router) -> Router {
    let served = "This process is an ai-gateway: it serves the addresses of models (/v1/models lists them), /health, \
                  /ready and /metrics.";
    bare(state, models.fallback(async move || ApiError::from(Problem::not_found(served))))
}

fn bare(state: Operations, others: Router) -> Router {
    let metrics = Arc::clone(&state.metrics);
    Router::new()
        .route("/health", get(system::health))
        .route("/ready", get(system::database_ready))
        .route("/metrics", get(system::metrics))
        .with_state(state)
        .merge(others)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(metrics, observe))
        .layer(axum::extract::DefaultBodyLimit::disable())
}

async fn no_route() -> impl IntoResponse {
    ApiError::from(Problem::not_found(
        "There is no such address; /openapi.json lists the API's, and GET /v1/models the models.",
    ))
}

async fn no_method() -> impl IntoResponse {
    ApiError::from(Problem::method_not_allowed(
        "This address does not support this method; /openapi.json lists those it does.",
    ))
}

#[cfg(test)]
mod tests;
