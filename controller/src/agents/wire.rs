//! Agents and their deployments as the API shows and takes them.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam_contract::{AgentId, DeploymentId, DeploymentState, FailureReason, Resources};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::{AgentRow, DeploymentRow, EventRow, Source, Wanted};

/// A new agent.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateAgent {
    /// 1 to 64 of `a-z`, `0-9` and `-`, a letter or digit first and last; made where it is left out.
    pub id: Option<AgentId>,
    /// What people call it; its id where it is left out.
    pub name: Option<String>,
    /// Where it runs; `local` where it is left out.
    pub environment: Option<String>,
}

/// What is to run. Without `image` and `deployment_id` it is the newest image that was uploaded.
#[derive(Default, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployRequest {
    /// An image that lies in a registry already: `registry/repository:tag` or `...@sha256:...`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The one that was uploaded under this deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_id: Option<DeploymentId>,
    /// Environment variables of this deployment. They are kept encrypted and not shown again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Secrets of the organization that become variables of the same names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<String>,
    #[serde(default)]
    pub resources: Resources,
}

impl std::fmt::Debug for DeployRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeployRequest")
            .field("image", &self.image)
            .field("deployment_id", &self.deployment_id)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("secrets", &self.secrets)
            .field("resources", &self.resources)
            .finish()
    }
}

/// An agent, what serves of it and what is newest.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AgentInfo {
    pub id: AgentId,
    pub name: String,
    pub environment: String,
    /// Of the version that serves, else of the newest; none where nothing was deployed yet.
    pub state: Option<DeploymentState>,
    /// Whether it is being deleted: nothing more can be done with it.
    pub deleting: bool,
    /// The version that serves.
    pub serving: Option<DeploymentInfo>,
    /// The version that was begun last.
    pub latest: Option<DeploymentInfo>,
    /// Unix time in seconds, like the others.
    pub created_at: i64,
    pub updated_at: i64,
}

/// One deployment: a version of an agent, from its upload to its end.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DeploymentInfo {
    pub id: DeploymentId,
    pub agent: AgentId,
    /// Counts from 1 within the agent; the version.
    pub number: u64,
    pub state: DeploymentState,
    /// Whether it was asked to run, or is no more than an upload so far.
    pub requested: bool,
    /// Where it failed or crashed: why, for programs.
    pub reason: Option<FailureReason>,
    /// What happens or has happened, and what to do about it.
    pub detail: String,
    pub exit_code: Option<i32>,
    /// Of the container's log, where it failed; oldest first, secrets replaced.
    pub last_lines: Vec<String>,
    pub source: Source,
    /// `registry/repository@sha256:...`, once it is known.
    pub image: Option<String>,
    pub digest: Option<String>,
    /// `amd64` or `arm64`, once it is known.
    pub architecture: Option<String>,
    /// Of the image in the registry; 0 where it is not known.
    pub size_bytes: u64,
    /// Of its upload so far.
    pub received_bytes: u64,
    pub resources: Resources,
    /// Names of the secrets that it gets.
    pub secrets: BTreeSet<String>,
    /// Unix time in milliseconds of the last change of its state.
    pub since_ms: i64,
    /// When it was up first, in milliseconds.
    pub up_at_ms: Option<i64>,
    /// Unix time in seconds.
    pub created_at: i64,
    pub updated_at: i64,
}

/// One change of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeploymentEvent {
    /// Counts from 1 within the deployment; what `Last-Event-ID` carries.
    pub seq: u64,
    /// Unix time in milliseconds.
    pub at_ms: i64,
    pub state: DeploymentState,
    pub reason: Option<FailureReason>,
    pub detail: String,
}

/// An image that is in the registry now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedImage {
    /// `host/path@sha256:...`, with the host that we push to.
    pub reference: String,
    /// `sha256:...`
    pub digest: String,
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// The image's own user: see [`PushedImage::user`].
    pub run_as: Option<u32>,
    /// Compressed, all layers together.
    pub size_bytes: u64,
}

impl PushedImage {
    /// The user that an image's configuration names (`config.User`): only a number other than 0 is known to be nobody's
    /// root.
    pub fn user(text: &str) -> Option<u32> {
        text.split(':').next()?.parse().ok().filter(|user| *user != 0)
    }

    pub(super) fn put_into(self, row: &mut DeploymentRow) {
        row.image = self.reference;
        row.architecture = self.architecture;
        row.run_as = self.run_as;
        row.size_bytes = self.size_bytes;
    }
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
            last_lines: row.last_lines.clone(),
            source: row.source.clone(),
            image: text(&row.image),
            digest: row.image.split_once('@').map(|(_, digest)| digest.to_owned()),
            architecture: text(&row.architecture),
            size_bytes: row.size_bytes,
            received_bytes: row.received_bytes,
            resources: row.spec.resources.clone(),
            secrets: row.spec.secrets.clone(),
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
    /// Of an agent's row and those of the version that serves and the newest one.
    pub fn new(row: AgentRow, serving: Option<&DeploymentRow>, latest: Option<&DeploymentRow>) -> Self {
        Self {
            state: serving.or(latest).map(|row| row.state),
            deleting: row.wanted == Wanted::Delete,
            serving: serving.map(DeploymentInfo::from),
            latest: latest.map(DeploymentInfo::from),
            id: row.id,
            name: row.name,
            environment: row.environment,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
