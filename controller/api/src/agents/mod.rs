//! Agents over HTTP: definitions, the single call `/api/deploy-agent`, agents and their deployments as resources, the routes of
//! existing clients, uploads, environments. Handlers only map; `cofferdam_agents`, `cofferdam_deployments` and
//! `cofferdam_environments` decide.

mod agent;
mod containers;
mod definitions;
mod deploy_agent;
mod deployments;
mod environments;
mod events;
mod files;
mod logs;
mod memories;
mod uploads;
mod variables;
mod versions;
mod warnings;

use cofferdam_contract::{AgentId, Problem};
use http::HeaderMap;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::services::Services;
use cofferdam_core::{Caller, Scope};
use cofferdam_deployments::Once;
use cofferdam_http::ApiError;

/// Routes that need `deploy`.
pub(crate) fn deploy() -> OpenApiRouter<Services> {
    OpenApiRouter::new()
        .routes(routes!(agent::create_agent))
        .routes(routes!(agent::delete_agent))
        .routes(routes!(definitions::put_agent, definitions::patch_agent))
        .routes(routes!(definitions::activate_agent))
        .routes(routes!(definitions::deactivate_agent))
        .routes(routes!(files::import_agents))
        .routes(routes!(memories::delete_memory))
        .routes(routes!(containers::generate_upload_link))
        .routes(routes!(containers::deploy_container))
        .routes(routes!(containers::start_container))
        .routes(routes!(containers::stop_container))
}

/// Routes that need `read`; those among them that change something check for more themselves.
pub(crate) fn read() -> OpenApiRouter<Services> {
    OpenApiRouter::new()
        .routes(routes!(deploy_agent::deploy_agent))
        .routes(routes!(agent::list_agents))
        .routes(routes!(agent::get_agent))
        .routes(routes!(versions::list_versions))
        .routes(routes!(versions::get_version))
        .routes(routes!(versions::diff_versions))
        .routes(routes!(files::export_agent))
        .routes(routes!(memories::list_memories))
        .routes(routes!(deployments::list_deployments))
        .routes(routes!(deployments::get_deployment))
        .routes(routes!(events::deployment_events))
        .routes(routes!(logs::agent_logs))
        .routes(routes!(logs::container_logs))
}

/// Routes that need `admin`.
pub(crate) fn admin() -> OpenApiRouter<Services> {
    OpenApiRouter::new()
        .routes(routes!(environments::list_environments))
        .routes(routes!(environments::put_environment))
        .routes(routes!(environments::get_environment))
        .routes(routes!(environments::delete_environment))
        .routes(routes!(environments::test_environment))
        .routes(routes!(variables::list_variables, variables::patch_variables))
        .routes(routes!(containers::secrets_sync))
}

/// Routes that need no key: the link authorizes.
pub(crate) fn open() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(uploads::put_upload, uploads::patch_upload, uploads::head_upload))
}

/// Parses an agent's id in a path. An invalid id is answered like an unknown one.
fn agent_id(text: &str) -> Result<AgentId, ApiError> {
    AgentId::parse(text).map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        Problem::not_found(format!("There is no agent {shown:?}.")).into()
    })
}

/// # Errors
/// [`Problem::forbidden`] for a key that lacks the scope.
fn need(caller: &Caller, scope: Scope) -> Result<(), ApiError> {
    if caller.scopes.cover(scope) {
        return Ok(());
    }
    let detail = format!("This needs the scope `{}`, which the key does not have.", scope.as_str());
    Err(Problem::forbidden(detail).into())
}

/// Refuses every organization but the key's own, as if it did not exist.
fn own_organization(caller: &Caller, named: &str) -> Result<(), ApiError> {
    if caller.organization.as_str() == named {
        return Ok(());
    }
    Err(Problem::not_found("There is no such organization.").into())
}

/// The request's `Idempotency-Key`, or the one in its body.
///
/// # Errors
/// Two keys that differ, or an invalid one.
fn once(headers: &HeaderMap, field: Option<&str>, request: &impl serde::Serialize) -> Result<Once, ApiError> {
    let header = match headers.get("idempotency-key") {
        Some(value) => Some(value.to_str().map_err(|_| Problem::invalid("Idempotency-Key must be printable ASCII"))?),
        None => None,
    };
    if let (Some(header), Some(field)) = (header, field)
        && header != field
    {
        return Err(Problem::invalid("Idempotency-Key and `idempotency_key` differ; send one of them.").into());
    }
    Ok(Once::new(header.or(field), request)?)
}
