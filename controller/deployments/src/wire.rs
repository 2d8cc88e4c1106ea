//! Agents and deployments as the API takes and shows them.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam_contract::{
    AgentId, DeploymentId, DeploymentState, FailureReason, Health, PodSettings, Problem, Resources,
};
use cofferdam_store::{AgentRow, DeploymentRow, EventRow, ImageSource, LastCrash};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A new agent.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateAgent {
    /// 1 to 64 of `a-z`, `0-9` and `-`, a letter or digit first and last; generated if it is left out.
    pub id: Option<AgentId>,
    /// A name for people; the id if it is left out.
    pub name: Option<String>,
    /// The environment that it runs in; `local` if it is left out.
    pub environment: Option<String>,
}

/// A request to run an image. Without `image` and `deployment_id` it is the newest image that was uploaded.
#[derive(Default, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployRequest {
    /// An image that is in a registry already: `registry/repository:tag` or `...@sha256:...`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The image that was uploaded under this deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_id: Option<DeploymentId>,
    /// Environment variables of this deployment. They are stored encrypted and never shown again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Names of the organization's secrets, which become variables of the same names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<String>,
    #[serde(default)]
    pub resources: Resources,
    /// Labels, annotations, tolerations, a priority class and volumes, as far as the environment allows them.
    #[serde(default, skip_serializing_if = "PodSettings::is_empty")]
    pub pod: PodSettings,
    /// Probes, and the times that the container gets.
    #[serde(default, skip_serializing_if = "Health::is_empty")]
    pub health: Health,
}

impl std::fmt::Debug for DeployRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeployRequest")
            .field("image", &self.image)
            .field("deployment_id", &self.deployment_id)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("secrets", &self.secrets)
            .field("resources", &self.resources)
            .field("pod", &self.pod)
            .field("health", &self.health)
            .finish()
    }
}

/// An agent, with the version that serves and the newest one.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AgentInfo {
    pub id: AgentId,
    pub name: String,
    pub environment: String,
    /// The state of the version that serves, else of the newest; none if nothing was deployed yet.
    pub state: Option<DeploymentState>,
    /// The agent is being deleted and accepts no more requests.
    pub deleting: bool,
    /// The version that serves.
    pub serving: Option<DeploymentInfo>,
    /// The newest version.
    pub latest: Option<DeploymentInfo>,
    /// Unix time in seconds.
    pub created_at: i64,
    pub updated_at: i64,
    /// It has a definition, and nothing to deploy.
    #[serde(skip)]
    pub serverless: bool,
}

/// A deployment: one version of an agent, from its upload to its end.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DeploymentInfo {
    pub id: DeploymentId,
    pub agent: AgentId,
    /// The version. It counts from 1 within the agent.
    pub number: u64,
    pub state: DeploymentState,
    /// The deployment was requested to run; false for an upload that has not been deployed yet.
    pub requested: bool,
    /// The reason of a failure or crash, for programs.
    pub reason: Option<FailureReason>,
    /// The current step or the failure, and what to do about it.
    pub detail: String,
    pub exit_code: Option<i32>,
    /// Its crashes after it came up, without 10 quiet minutes in between.
    pub crashes: u64,
    /// The last lines of a failed container's log, oldest first, with secrets replaced.
    pub last_lines: Vec<String>,
    pub source: ImageSource,
    /// `registry/repository@sha256:...`, once it is known.
    pub image: Option<String>,
    pub digest: Option<String>,
    /// `amd64` or `arm64`, once it is known.
    pub architecture: Option<String>,
    /// The size of the image in the registry; 0 if it is not known.
    pub size_bytes: u64,
    /// Bytes of the upload so far.
    pub received_bytes: u64,
    pub resources: Resources,
    /// Names of the secrets that the container gets.
    pub secrets: BTreeSet<String>,
    #[serde(skip_serializing_if = "PodSettings::is_empty")]
    pub pod: PodSettings,
    #[serde(skip_serializing_if = "Health::is_empty")]
    pub health: Health,
    /// Restarts of its container, in all pods.
    pub restarts: u64,
    /// The last time that its container ended by itself.
    pub last_crash: Option<LastCrash>,
    /// It serves and is not ready now, since this Unix time in milliseconds; `detail` says why.
    pub not_ready_since_ms: Option<i64>,
    /// Its cluster has not answered since this Unix time in milliseconds: its state is the last that was known.
    pub unreachable_since_ms: Option<i64>,
    /// The number of its last event: `?after=` of its events shows only what happens from now on.
    pub last_event: u64,
    /// Unix time in milliseconds of the last change of its state.
    pub since_ms: i64,
    /// Unix time in milliseconds at which it first came up.
    pub up_at_ms: Option<i64>,
    /// Unix time in seconds.
    pub created_at: i64,
    pub updated_at: i64,
}

/// An agent that is being deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeletedAgent {
    pub agent_id: AgentId,
    /// After a deletion by force: what may stay in the cluster if it does not let go of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_behind: Option<LeftBehind>,
}

/// Objects that a deletion by force may leave in a cluster: a Job, a Secret, a ServiceAccount and a NetworkPolicy of each
/// name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LeftBehind {
    pub environment: String,
    /// None if the environment cannot be read.
    pub namespace: Option<String>,
    pub names: Vec<String>,
}

/// The objects of a deployment that was only shown.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DryRun {
    pub agent_id: AgentId,
    pub environment: String,
    /// As the nodes would pull it; with a digest of zeros if it is not in the registry.
    pub image: String,
    /// Kubernetes objects, without the values of variables.
    #[schema(value_type = Vec<Object>)]
    pub manifests: Vec<serde_json::Value>,
}

/// The outcome of testing an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct EnvironmentTest {
    pub environment: String,
    /// No check is bad.
    pub ok: bool,
    pub checks: Vec<EnvironmentCheck>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct EnvironmentCheck {
    /// `cluster`, `namespace`, `registry`, or a Kubernetes resource for the rights to it.
    pub about: String,
    pub outcome: CheckOutcome,
    /// The finding, and what to do about it.
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckOutcome {
    Good,
    Bad,
    Skipped,
}

/// An event of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeploymentEvent {
    /// Counts from 1 within the deployment. `Last-Event-ID` carries it.
    pub seq: u64,
    /// Unix time in milliseconds.
    pub at_ms: i64,
    pub state: DeploymentState,
    pub reason: Option<FailureReason>,
    pub detail: String,
}

impl From<&DeploymentRow> for DeploymentInfo {
    fn from(row: &DeploymentRow) -> Self {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            id: row.id.clone(),
            agent: row.agent.clone(),
            number: row.number,
            state: row.state,
            requested: row.turn > 0,
            reason: row.reason,
            detail: row.detail.clone(),
            exit_code: row.exit_code,
            crashes: row.crashes,
            last_lines: row.last_lines.clone(),
            source: row.source.clone(),
            image: text(&row.image),
            digest: row.image.split_once('@').map(|(_, digest)| digest.to_owned()),
            architecture: text(&row.architecture),
            size_bytes: row.size_bytes,
            received_bytes: row.received_bytes,
            resources: row.spec.resources.clone(),
            secrets: row.spec.secrets.clone(),
            pod: row.spec.pod.clone(),
            health: row.spec.health.clone(),
            restarts: row.observed.restarts,
            last_crash: row.observed.last_crash.clone(),
            not_ready_since_ms: row.observed.not_ready_since_ms,
            unreachable_since_ms: row.observed.unreachable_since_ms,
            last_event: row.events,
            since_ms: row.since_ms,
            up_at_ms: (row.up_at_ms > 0).then_some(row.up_at_ms),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl From<EventRow> for DeploymentEvent {
    fn from(row: EventRow) -> Self {
        Self { seq: row.seq, at_ms: row.at_ms, state: row.state, reason: row.reason, detail: row.detail }
    }
}

impl AgentInfo {
    /// Checks that there was a deployment with this number. It may be forgotten by now; its log may not be.
    ///
    /// # Errors
    /// [`Problem::not_found`], with the numbers that there are.
    pub fn check_version(&self, number: u64) -> Result<(), Problem> {
        let id = self.id.as_str();
        let detail = match self.latest.as_ref().map(|latest| latest.number) {
            Some(last) if (1..=last).contains(&number) => return Ok(()),
            Some(1) => format!("Agent {id:?} has no version {number}: it has version 1 only."),
            Some(last) => format!("Agent {id:?} has no version {number}: its versions are 1 to {last}."),
            None => format!("Agent {id:?} has no version {number}: nothing was deployed to it yet."),
        };
        Err(Problem::not_found(detail))
    }

    /// Built from an agent's row and the rows of the serving and the newest version.
    pub(crate) fn new(row: AgentRow, serving: Option<&DeploymentRow>, latest: Option<&DeploymentRow>) -> Self {
        Self {
            state: serving.or(latest).map(|row| row.state),
            deleting: row.wanted.deletes(),
            serving: serving.map(DeploymentInfo::from),
            latest: latest.map(DeploymentInfo::from),
            id: row.id,
            name: row.name,
            environment: row.environment,
            created_at: row.created_at,
            updated_at: row.updated_at,
            serverless: row.serverless,
        }
    }
}
