//! `POST /api/deploy-agent`: everything that can be done with a container agent, in one call. Its environment decides how;
//! the answers are the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use cofferdam_contract::{AgentId, DeploymentId, Problem, Resources};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::base::base;
use super::{need, once};
use crate::Error;
use crate::agents::uploads::{self, UploadLink};
use crate::agents::{self, AgentInfo, DeployRequest, DeploymentInfo};
use crate::api::json::Json;
use crate::auth::{Caller, Scope};
use crate::services::App;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Answers a link that an image archive is sent to.
    Upload,
    /// Runs what was uploaded, or `image`.
    Deploy,
    Start,
    Stop,
    Restart,
    /// Runs an older version again: `version`, or the one before.
    Rollback,
    Delete,
    Status,
    /// Answers a link that streams the logs.
    Logs,
}

impl Action {
    fn scope(self) -> Scope {
        if matches!(self, Self::Status | Self::Logs) { Scope::Read } else { Scope::Deploy }
    }
}

/// One event of an agent's life. Fields beside `agent_id` and `action` are those of the action.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployAgentRequest {
    pub agent_id: AgentId,
    pub action: Action,
    /// The same key with the same request again does nothing new; the header `Idempotency-Key` says the same.
    pub idempotency_key: Option<String>,
    /// For `deploy`: an image in a registry, in place of an uploaded one.
    pub image: Option<String>,
    /// For `deploy`: the upload to run, where it is not the newest.
    pub deployment_id: Option<DeploymentId>,
    /// For `deploy`: environment variables. They are kept encrypted and not shown again.
    pub env: Option<BTreeMap<String, String>>,
    /// For `deploy`: secrets of the organization that become variables of the same names.
    pub secrets: Option<BTreeSet<String>>,
    /// For `deploy`.
    pub resources: Option<Resources>,
    /// For `rollback`: a deployment's number.
    pub version: Option<u64>,
}

impl DeployAgentRequest {
    /// # Errors
    /// A field that belongs to another action: it would be ignored.
    fn check(&self) -> Result<(), Error> {
        let deploy = self.action == Action::Deploy;
        for (name, given, fits) in [
            ("image", self.image.is_some(), deploy),
            ("deployment_id", self.deployment_id.is_some(), deploy),
            ("env", self.env.is_some(), deploy),
            ("secrets", self.secrets.is_some(), deploy),
            ("resources", self.resources.is_some(), deploy),
            ("version", self.version.is_some(), self.action == Action::Rollback),
        ] {
            if given && !fits {
                return Err(Problem::invalid(format!("`{name}` does not belong to this action.")).into());
            }
        }
        Ok(())
    }

    fn deploy(self) -> DeployRequest {
        DeployRequest {
            image: self.image,
            deployment_id: self.deployment_id,
            env: self.env.unwrap_or_default(),
            secrets: self.secrets.unwrap_or_default(),
            resources: self.resources.unwrap_or_default(),
        }
    }
}

/// An agent after an action.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContainerInfo {
    pub agent_id: AgentId,
    /// `Starting` on the way up, then `Up`; `CrashLoop`, `Failed`, `Stopping`, `Stopped`. None where nothing was deployed.
    pub state: Option<&'static str>,
    /// The deployment that the action is about, or the one that serves, or the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_id: Option<DeploymentId>,
    /// Its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// All of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentInfo>,
}

impl ContainerInfo {
    pub fn of(agent_id: AgentId, deployment: Option<DeploymentInfo>) -> Self {
        Self {
            agent_id,
            state: deployment.as_ref().map(|info| info.state.contract_name()),
            deployment_id: deployment.as_ref().map(|info| info.id.clone()),
            version: deployment.as_ref().map(|info| info.number),
            deployment,
        }
    }

    pub fn of_agent(agent: AgentInfo) -> Self {
        Self::of(agent.id, agent.serving.or(agent.latest))
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct LogsLink {
    pub agent_id: AgentId,
    /// Server-sent events; it wants the same API key.
    pub link: String,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum DeployAgentAnswer {
    /// For `upload`.
    Upload(Box<UploadLink>),
    /// For `logs`.
    Logs(LogsLink),
    Container(Box<ContainerInfo>),
}

/// Upload, deploy, start, stop, restart, roll back, delete, look at an agent.
///
/// `upload`, `deploy`, `start`, `stop`, `restart`, `rollback` and `delete` need the scope `deploy`.
#[utoipa::path(post, path = "/api/deploy-agent", tag = "agents", request_body = DeployAgentRequest,
    params(("idempotency-key" = Option<String>, Header, description = "The same key with the same request does nothing new")),
    responses((status = 200, body = DeployAgentAnswer),
        (status = 404, description = "No such agent, or another organization's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Nothing to run, or the agent is being deleted", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many deployments on their way; see Retry-After", body = Problem, content_type = "application/problem+json")))]
pub async fn deploy_agent(
    State(app): State<App>,
    Extension(caller): Extension<Arc<Caller>>,
    headers: HeaderMap,
    Json(request): Json<DeployAgentRequest>,
) -> Result<Json<DeployAgentAnswer>, Error> {
    need(&caller, request.action.scope())?;
    request.check()?;
    let (id, key) = (request.agent_id.clone(), request.idempotency_key.clone());
    let once = |what: Value| once(&headers, key.as_deref(), &what);
    let container = |info| DeployAgentAnswer::Container(Box::new(ContainerInfo::of(id.clone(), info)));
    let answer = match request.action {
        Action::Upload => {
            let once = once(json!(["upload", id]))?;
            let link = uploads::begin(&app, &caller, &base(&app.config, &headers), &id, &once).await?;
            DeployAgentAnswer::Upload(Box::new(link))
        }
        Action::Deploy => {
            let deploy = request.deploy();
            let once = once(json!(["deploy", id, deploy]))?;
            container(Some(agents::deploy(&app, &caller, &id, &deploy, &once).await?))
        }
        Action::Start => container(Some(agents::start(&app, &caller, &id, &once(json!(["start", id]))?).await?)),
        Action::Restart => container(Some(agents::restart(&app, &caller, &id, &once(json!(["restart", id]))?).await?)),
        Action::Rollback => {
            let once = once(json!(["rollback", id, request.version]))?;
            container(Some(agents::rollback(&app, &caller, &id, request.version, &once).await?))
        }
        Action::Stop => {
            agents::stop(&app, &caller, &id).await?;
            DeployAgentAnswer::Container(Box::new(ContainerInfo::of_agent(agents::show(&app, &caller, &id).await?)))
        }
        Action::Delete => {
            agents::delete(&app, &caller, &id).await?;
            let info = ContainerInfo { state: Some("Stopping"), ..ContainerInfo::of(id, None) };
            DeployAgentAnswer::Container(Box::new(info))
        }
        Action::Status => {
            DeployAgentAnswer::Container(Box::new(ContainerInfo::of_agent(agents::show(&app, &caller, &id).await?)))
        }
        Action::Logs => {
            let agent = agents::show(&app, &caller, &id).await?;
            let link = format!("{}/agents/{}/logs", base(&app.config, &headers), agent.id);
            DeployAgentAnswer::Logs(LogsLink { agent_id: agent.id, link })
        }
    };
    Ok(Json(answer))
}
