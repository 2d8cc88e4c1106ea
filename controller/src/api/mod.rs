//! The HTTP API: handlers parse and map, `services` decide. Every route stands here, in the group of the scope it needs;
//! every refusal is a problem document.

mod agents;
mod body;
mod json;
mod keys;
mod observe;
mod openapi;
mod pass;
mod problem;
mod runs;
mod secrets;
mod session_files;
mod sessions;
mod snapshots;
mod system;
mod tool_upload;
mod tools;

use axum::Router;
use axum::extract::State;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::get;
use cofferdam_contract::Problem;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Error;
use crate::auth::{Scope, require};
use crate::mcp;
use crate::services::App;

pub(crate) use body::read as read_body;
pub use observe::Peer;
pub(crate) use observe::observe;

/// The whole API, and its description.
pub fn router(app: &App) -> (Router, OpenApi) {
    let group = |scope: Scope, routes: OpenApiRouter<App>| {
        routes.route_layer(from_fn_with_state((app.clone(), scope), require))
    };
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
        .merge(agents::read());
    let admin = OpenApiRouter::new()
        .routes(routes!(keys::create_key))
        .routes(routes!(keys::list_keys))
        .routes(routes!(keys::delete_key))
        .routes(routes!(secrets::put_secret))
        .routes(routes!(secrets::list_secrets))
        .routes(routes!(secrets::get_secret))
        .routes(routes!(secrets::delete_secret))
        .merge(agents::admin());
    let open = OpenApiRouter::new()
        .routes(routes!(system::health))
        .routes(routes!(system::ready))
        .routes(routes!(system::metrics))
        .routes(routes!(system::openapi))
        .merge(agents::open());
    let mcp = OpenApiRouter::new()
        .route("/mcp", axum::routing::post(mcp::post).with_state(mcp::McpService::new(app)).get(mcp::changes));
    let (router, document) = OpenApiRouter::with_openapi(openapi::document())
        .merge(group(Scope::Run, run))
        .merge(group(Scope::Deploy, deploy))
        .merge(group(Scope::Read, read))
        .merge(group(Scope::Admin, admin))
        .merge(group(Scope::Run, mcp))
        .merge(open)
        .split_for_parts();
    let document = openapi::finish(document);
    let router = router
        .layer(axum::Extension(system::Document::new(&document)))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn(problem::plain_refusals))
        .layer(from_fn_with_state(app.metrics.clone(), observe))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(app.clone());
    (router, document)
}

/// What a process answers that does its work unasked: whether it lives and can work, and its metrics.
pub fn operations(app: &App) -> Router {
    Router::new()
        .route("/health", get(system::health))
        .route("/ready", get(system::operator_ready))
        .route("/metrics", get(system::metrics))
        .fallback(no_api)
        .layer(from_fn_with_state(app.metrics.clone(), observe))
        .with_state(app.clone())
}

async fn no_api() -> impl IntoResponse {
    Error::from(Problem::not_found("This process is an aws-operator: there are /health, /ready and /metrics."))
}

async fn no_route(State(_): State<App>) -> impl IntoResponse {
    Error::from(Problem::not_found("There is no such address; /openapi.json lists those that there are."))
}

async fn no_method(State(_): State<App>) -> impl IntoResponse {
    Error::from(Problem::method_not_allowed(
        "This address does not take this method; /openapi.json lists those it does.",
    ))
}
