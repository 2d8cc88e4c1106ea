//! Container agents: agent ids, deployment states, failure reasons and log lines.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::ids::IdVisitor;
use crate::quantity::Kind;

/// The longest agent id. Ids become part of Kubernetes names and repository names, so they use only letters that both
/// allow.
pub const MAX_AGENT_ID: usize = 64;

/// The text is not a valid agent id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an agent id: 1 to 64 of a-z, 0-9 and `-`, with a letter or digit first and last")]
pub struct AgentIdError(pub String);

/// An agent's name within its organization: 1 to 64 of `a-z`, `0-9` and `-`, with a letter or digit first and last.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentId(String);

impl AgentId {
    /// # Errors
    /// The text has other characters or another length.
    pub fn parse(text: &str) -> Result<Self, AgentIdError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ends = text.bytes().next().is_some_and(plain) && text.bytes().next_back().is_some_and(plain);
        if ends && text.len() <= MAX_AGENT_ID && text.bytes().all(|b| plain(b) || b == b'-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(AgentIdError(text.chars().take(80).collect()))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AgentId {
    type Error = AgentIdError;
    fn try_from(text: String) -> Result<Self, AgentIdError> {
        Self::parse(&text)
    }
}

impl<'de> Deserialize<'de> for AgentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "an agent id: 1 to 64 of a-z, 0-9 and `-`, with a letter or digit first and last";
        deserializer.deserialize_str(IdVisitor::new(expected, |text| Self::parse(text).ok()))
    }
}

impl From<AgentId> for String {
    fn from(id: AgentId) -> String {
        id.0
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The state of a deployment. The database and the API use these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, VariantArray, IntoStaticStr, EnumString)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum DeploymentState {
    /// Waiting for the image, or receiving it.
    Uploading,
    /// Pushing the image to the registry.
    Pushing,
    /// Creating the Job.
    Applying,
    /// The Job exists and is not ready yet.
    Starting,
    /// Serving.
    Up,
    /// It served and ended by itself. It is being restarted, or the version before it comes back.
    CrashLoop,
    /// It never served, or was given up. The previous version keeps serving if there is one.
    Failed,
    /// Deleting the Job.
    Stopping,
    /// Stopped by the user, or replaced by another version.
    Stopped,
}

impl DeploymentState {
    pub fn name(self) -> &'static str {
        self.into()
    }

    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    /// The name in the xpander contract, which shows every state on the way up as `Starting`.
    pub fn contract_name(self) -> &'static str {
        match self {
            Self::Uploading | Self::Pushing | Self::Applying | Self::Starting => "Starting",
            Self::Up | Self::CrashLoop | Self::Failed | Self::Stopping | Self::Stopped => self.name(),
        }
    }

    /// True if the state changes only when a user does something.
    pub fn is_settled(self) -> bool {
        match self {
            Self::Up | Self::Failed | Self::Stopped => true,
            Self::Uploading | Self::Pushing | Self::Applying | Self::Starting | Self::CrashLoop | Self::Stopping => {
                false
            }
        }
    }

    pub fn progress(self) -> Progress {
        match self {
            Self::Uploading | Self::Pushing | Self::Applying | Self::Starting => Progress::Pending,
            Self::Up => Progress::Up,
            Self::CrashLoop | Self::Failed => Progress::Failed,
            Self::Stopping | Self::Stopped => Progress::Stopped,
        }
    }
}

/// The progress of a deployment, coarser than its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Pending,
    Up,
    Failed,
    Stopped,
}

/// Why a deployment failed, as finely as a program needs to tell the cases apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum FailureReason {
    /// The archive, or the image in it, cannot be deployed.
    BadImage,
    /// The upload broke off or never started.
    UploadLost,
    /// The registry failed or refused.
    Registry,
    /// The cluster is unreachable or refused: credentials, permissions, quota.
    Cluster,
    /// No cluster is configured to run containers in.
    NoCluster,
    /// The nodes cannot pull the image.
    ImagePull,
    /// No node can take the pod.
    Unschedulable,
    /// The container cannot be created: a missing secret, a missing command, the wrong architecture.
    CannotStart,
    /// It used more memory than its limit.
    OutOfMemory,
    /// It exited with a non-zero status, or kept exiting.
    Exited,
    /// It did not become ready in time.
    NotReady,
    /// A newer deployment of the same agent replaced it.
    Superseded,
    /// Our failure.
    Internal,
}

impl FailureReason {
    /// The name as it is stored and sent.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadImage => "bad_image",
            Self::UploadLost => "upload_lost",
            Self::Registry => "registry",
            Self::Cluster => "cluster",
            Self::NoCluster => "no_cluster",
            Self::ImagePull => "image_pull",
            Self::Unschedulable => "unschedulable",
            Self::CannotStart => "cannot_start",
            Self::OutOfMemory => "out_of_memory",
            Self::Exited => "exited",
            Self::NotReady => "not_ready",
            Self::Superseded => "superseded",
            Self::Internal => "internal",
        }
    }
}

/// The resources of a container, as Kubernetes quantities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Resources {
    /// CPU, such as `500m` or `2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Memory, such as `512Mi`. Used as both request and limit, so the node never overcommits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Scratch space on the node, such as `1Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage: Option<String>,
}

impl Resources {
    /// Checks that each value is a Kubernetes quantity that a node can have.
    ///
    /// # Errors
    /// A message that names the first invalid field.
    pub fn check(&self) -> Result<(), String> {
        let all = [
            ("cpu", &self.cpu, Kind::Cpu),
            ("memory", &self.memory, Kind::Memory),
            ("ephemeral_storage", &self.ephemeral_storage, Kind::Disk),
        ];
        match all.into_iter().find(|(_, text, kind)| text.as_deref().is_some_and(|text| !kind.takes(text))) {
            Some((field, _, kind)) => Err(format!("resources.{field}: {}", kind.form())),
            None => Ok(()),
        }
    }
}

/// One line of an agent's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogLine {
    /// Increases within an agent, across pods and versions. `Last-Event-ID` carries it.
    pub seq: u64,
    /// When the line was written, as the cluster reports it: RFC 3339 with nanoseconds.
    pub time: String,
    pub pod: String,
    /// The deployment's version number.
    pub version: u64,
    /// The text without its line ending, with secrets redacted.
    pub line: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_that_no_node_has_is_named() {
        let named = Resources { memory: Some("lots".to_owned()), ..Resources::default() };
        assert!(named.check().unwrap_err().contains("resources.memory") && Resources::default().check().is_ok());
    }

    #[test]
    fn ids_are_names_that_kubernetes_and_registries_take() {
        for good in ["a", "hello", "a-1", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", &"x".repeat(64)] {
            assert_eq!(AgentId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a/b", "..", "a b", "é", &"x".repeat(65)] {
            assert!(AgentId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(serde_json::from_str::<AgentId>("\"../x\"").is_err());
    }

    #[test]
    fn a_reason_is_named_as_it_is_written() {
        let names = ["bad_image", "upload_lost", "registry", "cluster", "no_cluster", "image_pull", "unschedulable"];
        for name in names.into_iter().chain(["cannot_start", "out_of_memory", "exited", "not_ready", "superseded"]) {
            let reason: FailureReason = serde_json::from_value(name.into()).unwrap();
            assert_eq!(reason.name(), name);
        }
    }

    #[test]
    fn states_have_one_name_each() {
        for state in DeploymentState::VARIANTS.iter().copied() {
            assert_eq!(DeploymentState::parse(state.name()), Some(state));
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("{:?}", state.name()));
        }
        assert_eq!(DeploymentState::Pushing.contract_name(), "Starting");
        assert_eq!(DeploymentState::Up.contract_name(), "Up");
    }
}
