//! Container agents over HTTP: the one call `/api/deploy-agent`, agents and their deployments as resources, the forms that
//! existing clients speak, uploads, environments. Handlers only map; `crate::agents` and `crate::environments` decide.

mod agent;
mod base;
mod containers;
mod deploy_agent;
mod deployments;
mod environments;
mod events;
mod logs;
mod uploads;

use cofferdam_contract::{AgentId, Problem};
use http::HeaderMap;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Error;
use crate::agents::Once;
use crate::auth::{Caller, Scope};
use crate::services::App;

/// Routes that need `deploy`.
pub fn deploy() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(agent::create_agent))
        .routes(routes!(agent::delete_agent))
        .routes(routes!(containers::generate_upload_link))
        .routes(routes!(containers::deploy_container))
        .routes(routes!(containers::start_container))
        .routes(routes!(containers::stop_container))
}

/// Routes that need `read`; what changes something among them asks for more itself.
pub fn read() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(deploy_agent::deploy_agent))
        .routes(routes!(agent::list_agents))
        .routes(routes!(agent::get_agent))
        .routes(routes!(deployments::list_deployments))
        .routes(routes!(deployments::get_deployment))
        .routes(routes!(events::deployment_events))
        .routes(routes!(logs::agent_logs))
        .routes(routes!(logs::container_logs))
}

/// Routes that need `admin`.
pub fn admin() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(environments::list_environments))
        .routes(routes!(environments::put_environment))
        .routes(routes!(environments::get_environment))
        .routes(routes!(environments::delete_environment))
        .routes(routes!(containers::secrets_sync))
}

/// Routes that need no key: a link is what opens them.
pub fn open() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(uploads::put_upload, uploads::patch_upload, uploads::head_upload))
}

/// An agent's id in a path. What cannot be one is no agent.
fn agent_id(text: &str) -> Result<AgentId, Error> {
    AgentId::parse(text).map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        Problem::not_found(format!("There is no agent {shown:?}.")).into()
    })
}

/// # Errors
/// [`Problem::forbidden`] for a key that lacks the scope.
fn need(caller: &Caller, scope: Scope) -> Result<(), Error> {
    if caller.scopes.cover(scope) {
        return Ok(());
    }
    let detail = format!("This needs the scope `{}`, which the key does not have.", scope.as_str());
    Err(Problem::forbidden(detail).into())
}

/// Another organization than the key's own does not exist.
fn own_organization(caller: &Caller, named: &str) -> Result<(), Error> {
    if caller.organization.as_str() == named {
        return Ok(());
    }
    Err(Problem::not_found("There is no such organization.").into())
}

/// The request's `Idempotency-Key`, or the one in its body.
///
/// # Errors
/// Two that differ, or one that cannot be.
fn once(headers: &HeaderMap, field: Option<&str>, request: &impl serde::Serialize) -> Result<Once, Error> {
    let header = match headers.get("idempotency-key") {
        Some(value) => Some(value.to_str().map_err(|_| Problem::invalid("Idempotency-Key: printable ASCII only"))?),
        None => None,
    };
    if let (Some(header), Some(field)) = (header, field)
        && header != field
    {
        return Err(Problem::invalid("Idempotency-Key and `idempotency_key` differ; send one of them.").into());
    }
    Once::new(header.or(field), request)
}
