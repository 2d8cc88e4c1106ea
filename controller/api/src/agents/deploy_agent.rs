//! `POST /api/deploy-agent`: every operation on a container agent in one call. The agent's environment decides how it is
//! carried out; the answers are the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use cofferdam_contract::{AgentId, DeploymentId, Health, PodSettings, Problem, Resources};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{need, once};
use crate::audited::Details;
use crate::base::Base;
use crate::refusals::Unavailable;
use cofferdam_core::{Caller, Scope};
use cofferdam_deployments::{
    AgentInfo, DeletedAgent, DeployRequest, DeploymentInfo, Deployments, DryRun, LeftBehind, UploadLink, Uploads,
};
use cofferdam_http::ApiError;
use cofferdam_http::Json;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    /// Returns a link to upload an image archive to.
    Upload,
    /// Runs the uploaded image, or `image`.
    Deploy,
    Start,
    Stop,
    Restart,
    /// Runs an earlier version again: `version`, or the one before the serving one.
    Rollback,
    Delete,
    Status,
    /// Returns a link that streams the logs.
    Logs,
}

impl Action {
    fn scope(self) -> Scope {
        if matches!(self, Self::Status | Self::Logs) { Scope::Read } else { Scope::Deploy }
    }

    /// The action in the audit log.
    fn noted(self) -> Option<&'static str> {
        Some(match self {
            Self::Upload => "agent.upload_link",
            Self::Deploy => "agent.deploy",
            Self::Start => "agent.start",
            Self::Stop => "agent.stop",
            Self::Restart => "agent.restart",
            Self::Rollback => "agent.rollback",
            Self::Delete => "agent.delete",
            Self::Status | Self::Logs => return None,
        })
    }
}

/// An operation on an agent. All fields except `agent_id` and `action` belong to certain actions. `upload` takes the settings
/// of `deploy`, too, and refuses those that `deploy` would refuse, before anything is sent; `deploy` has to repeat them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeployAgentRequest {
    pub agent_id: AgentId,
    pub action: Action,
    /// Repeating a request with the same key does nothing new. The header `Idempotency-Key` has the same effect.
    pub idempotency_key: Option<String>,
    /// For `upload`: the image's name in the archive, if that has several.
    pub archive_image: Option<String>,
    /// For `deploy`: an image in a registry, instead of an uploaded one.
    pub image: Option<String>,
    /// For `deploy`: the upload to run; the newest by default.
    pub deployment_id: Option<DeploymentId>,
    /// For `deploy` and `upload`: environment variables. They are stored encrypted and never shown again.
    pub env: Option<BTreeMap<String, String>>,
    /// For `deploy` and `upload`: secrets of the organization that become variables of the same names.
    pub secrets: Option<BTreeSet<String>>,
    /// For `deploy` and `upload`: CPU, memory and disk.
    pub resources: Option<Resources>,
    /// For `deploy` and `upload`: labels, annotations, tolerations, a priority class and volumes, as far as the environment allows them.
    pub pod: Option<PodSettings>,
    /// For `deploy` and `upload`: probes, and the times that the container gets.
    pub health: Option<Health>,
    /// For `deploy`: only return the Kubernetes objects that would be applied, without the values of variables.
    pub dry_run: Option<bool>,
    /// For `delete`: delete the agent even if its cluster does not let go of what it holds.
    pub force: Option<bool>,
    /// For `rollback`: a deployment's number.
    pub version: Option<u64>,
}

impl DeployAgentRequest {
    /// # Errors
    /// A field that belongs to another action, since it would be ignored.
    fn check(&self) -> Result<(), ApiError> {
        let deploy = self.action == Action::Deploy;
        // An upload takes them to have them checked before anything is sent.
        let how = deploy || self.action == Action::Upload;
        for (name, given, fits) in [
            ("archive_image", self.archive_image.is_some(), self.action == Action::Upload),
            ("image", self.image.is_some(), deploy),
            ("deployment_id", self.deployment_id.is_some(), deploy),
            ("env", self.env.is_some(), how),
            ("secrets", self.secrets.is_some(), how),
            ("resources", self.resources.is_some(), how),
            ("pod", self.pod.is_some(), how),
            ("health", self.health.is_some(), how),
            ("dry_run", self.dry_run.is_some(), deploy),
            ("force", self.force.is_some(), self.action == Action::Delete),
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
            pod: self.pod.unwrap_or_default(),
            health: self.health.unwrap_or_default(),
        }
    }
}

/// An agent after an action.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ContainerInfo {
    pub agent_id: AgentId,
    /// `Starting` on the way up, then `Up`; `CrashLoop`, `Failed`, `Stopping`, `Stopped`. Absent if nothing was deployed.
    pub state: Option<&'static str>,
    /// The deployment that the action created or changed, else the serving one, else the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_id: Option<DeploymentId>,
    /// The deployment's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The deployment itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentInfo>,
    /// After a deletion by force: what may stay in the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_behind: Option<LeftBehind>,
}

impl ContainerInfo {
    pub(super) fn of(agent_id: AgentId, deployment: Option<DeploymentInfo>) -> Self {
        Self {
            agent_id,
            state: deployment.as_ref().map(|info| info.state.contract_name()),
            deployment_id: deployment.as_ref().map(|info| info.id.clone()),
            version: deployment.as_ref().map(|info| info.number),
            deployment,
            left_behind: None,
        }
    }

    pub(super) fn of_agent(agent: AgentInfo) -> Self {
        Self::of(agent.id, agent.serving.or(agent.latest))
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LogsLink {
    pub agent_id: AgentId,
    /// A stream of server-sent events; requires the same API key.
    pub link: String,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum DeployAgentAnswer {
    /// For `upload`: the link, and how to use it.
    Upload(Box<UploadLink>),
    /// For `logs`: the link.
    Logs(LogsLink),
    /// For `deploy` with `dry_run`: the objects.
    DryRun(Box<DryRun>),
    Container(Box<ContainerInfo>),
}

/// Upload, deploy, start, stop, restart, roll back, delete or show an agent.
///
/// `upload`, `deploy`, `start`, `stop`, `restart`, `rollback` and `delete` need the scope `deploy`.
#[utoipa::path(post, path = "/api/deploy-agent", tag = "agents", request_body = DeployAgentRequest,
    params(("idempotency-key" = Option<String>, Header, description = "Repeating a request with the same key does nothing new")),
    responses((status = 200, body = DeployAgentAnswer),
        (status = 404, description = "No such agent, or another organization's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "There is nothing to run, or the agent is being deleted", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many deployments in progress; see Retry-After", body = Problem, content_type = "application/problem+json"), Unavailable))]
pub(super) async fn deploy_agent(
    State(deployments): State<Arc<Deployments>>,
    State(uploads): State<Arc<Uploads>>,
    State(base): State<Base>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(details): Extension<Details>,
    headers: HeaderMap,
    Json(request): Json<DeployAgentRequest>,
) -> Result<Json<DeployAgentAnswer>, ApiError> {
    details.target(request.agent_id.as_str());
    details.action(request.action.noted().filter(|_| request.dry_run != Some(true)));
    need(&caller, request.action.scope())?;
    request.check()?;
    let (id, key) = (request.agent_id.clone(), request.idempotency_key.clone());
    let once = |what: Value| once(&headers, key.as_deref(), &what);
    let container = |info| DeployAgentAnswer::Container(Box::new(ContainerInfo::of(id.clone(), info)));
    let answer = match request.action {
        Action::Upload => {
            let image = request.archive_image.clone();
            let how = request.deploy();
            let once = match how.says_how() {
                true => once(json!(["upload", id, image, how])),
                false => once(json!(["upload", id, image])),
            }?;
            let link = uploads.begin(&caller, &base.of(&headers), &id, image.as_deref(), &how, &once).await?;
            DeployAgentAnswer::Upload(Box::new(link))
        }
        Action::Deploy if request.dry_run == Some(true) => {
            DeployAgentAnswer::DryRun(Box::new(deployments.dry_run(&caller, &id, &request.deploy()).await?))
        }
        Action::Deploy => {
            let deploy = request.deploy();
            let once = once(json!(["deploy", id, deploy]))?;
            container(Some(deployments.deploy(&caller, &id, &deploy, &once).await?))
        }
        Action::Start => container(Some(deployments.start(&caller, &id, &once(json!(["start", id]))?).await?)),
        Action::Restart => container(Some(deployments.restart(&caller, &id, &once(json!(["restart", id]))?).await?)),
        Action::Rollback => {
            let once = once(json!(["rollback", id, request.version]))?;
            container(Some(deployments.rollback(&caller, &id, request.version, &once).await?))
        }
        Action::Stop => {
            deployments.stop(&caller, &id).await?;
            DeployAgentAnswer::Container(Box::new(ContainerInfo::of_agent(deployments.show(&caller, &id).await?)))
        }
        Action::Delete => {
            let DeletedAgent { left_behind, .. } =
                deployments.delete(&caller, &id, request.force.unwrap_or_default()).await?;
            let info = ContainerInfo { state: Some("Stopping"), left_behind, ..ContainerInfo::of(id, None) };
            DeployAgentAnswer::Container(Box::new(info))
        }
        Action::Status => {
            DeployAgentAnswer::Container(Box::new(ContainerInfo::of_agent(deployments.show(&caller, &id).await?)))
        }
        Action::Logs => {
            let agent = deployments.show(&caller, &id).await?;
            let link = format!("{}/agents/{}/logs", base.of(&headers), agent.id);
            DeployAgentAnswer::Logs(LogsLink { agent_id: agent.id, link })
        }
    };
    Ok(Json(answer))
}
