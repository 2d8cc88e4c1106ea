//! Container agents: their names, the states of a deployment, why one failed, lines of their logs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest agent id. It is part of Kubernetes names and of repositories, which decides its letters.
pub const MAX_AGENT_ID: usize = 64;

/// Why a text is not an agent's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an agent id: 1 to 64 of a-z, 0-9 and `-`, with a letter or digit first and last")]
pub struct AgentIdError(pub String);

/// What an organization calls an agent: 1 to 64 of `a-z`, `0-9` and `-`, with a letter or digit first and last.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentId(String);

impl AgentId {
    /// # Errors
    /// A text with other characters, or of another length.
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

/// Where a deployment is. Stored and shown under these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum DeploymentState {
    /// Its image is awaited, or arrives.
    Uploading,
    /// Its image goes to the registry.
    Pushing,
    /// Its Job is made.
    Applying,
    /// Its Job is there and not ready yet.
    Starting,
    /// It serves.
    Up,
    /// It served and ends again and again.
    CrashLoop,
    /// It never served, or was given up; the version before serves where there is one.
    Failed,
    /// Its Job is taken away.
    Stopping,
    /// It was stopped, or another version took its place.
    Stopped,
}

impl DeploymentState {
    pub const ALL: [Self; 9] = [
        Self::Uploading,
        Self::Pushing,
        Self::Applying,
        Self::Starting,
        Self::Up,
        Self::CrashLoop,
        Self::Failed,
        Self::Stopping,
        Self::Stopped,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Uploading => "Uploading",
            Self::Pushing => "Pushing",
            Self::Applying => "Applying",
            Self::Starting => "Starting",
            Self::Up => "Up",
            Self::CrashLoop => "CrashLoop",
            Self::Failed => "Failed",
            Self::Stopping => "Stopping",
            Self::Stopped => "Stopped",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == text)
    }

    /// As clients of the xpander contract know it: everything on the way up is `Starting`.
    pub fn contract_name(self) -> &'static str {
        match self {
            Self::Uploading | Self::Pushing | Self::Applying | Self::Starting => "Starting",
            other => other.name(),
        }
    }

    /// Whether it changes no more without somebody's doing.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Up | Self::Failed | Self::Stopped)
    }
}

/// Why a deployment failed, as far as a program wants to tell cases apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum FailureReason {
    /// The archive or the image in it cannot be deployed.
    BadImage,
    /// The upload ended before the archive did, or never came.
    UploadLost,
    /// The registry did not do its part.
    Registry,
    /// The cluster cannot be reached, or refused: credentials, permissions, quota.
    Cluster,
    /// There is no cluster to run containers in.
    NoCluster,
    /// The nodes cannot pull the image.
    ImagePull,
    /// No node can take the pod.
    Unschedulable,
    /// The container cannot be made: a missing secret, a command that is not there, the wrong architecture.
    CannotStart,
    /// It used more memory than its limit.
    OutOfMemory,
    /// It ended with a status other than 0, or again and again.
    Exited,
    /// It was not ready in time.
    NotReady,
    /// A newer deployment of the same agent took its turn.
    Superseded,
    /// We failed.
    Internal,
}

impl FailureReason {
    /// As it is written.
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

/// What a container gets. Kubernetes quantities, as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Resources {
    /// Such as `500m` or `2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Such as `512Mi`; limit and request in one, so that nothing is promised that is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Scratch space on the node, such as `1Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage: Option<String>,
}

impl Resources {
    /// Whether each is a quantity of Kubernetes; the name of the first that is none.
    ///
    /// # Errors
    /// What stands there instead, in words.
    pub fn check(&self) -> Result<(), String> {
        let all = [("cpu", &self.cpu), ("memory", &self.memory), ("ephemeral_storage", &self.ephemeral_storage)];
        match all.into_iter().find(|(_, text)| text.as_deref().is_some_and(|text| !is_quantity(text))) {
            Some((field, _)) => Err(format!("resources.{field}: a quantity of Kubernetes, such as `500m` or `512Mi`")),
            None => Ok(()),
        }
    }
}

/// More than nothing, by the grammar of Kubernetes' `resource.Quantity`, without signs.
fn is_quantity(text: &str) -> bool {
    const MOST: usize = 32;
    const UNITS: [&str; 16] = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let number = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let digits = text.get(..text.len() - number.len()).unwrap_or_default();
    let exponent = number.strip_prefix(['e', 'E']).map(|power| power.strip_prefix(['+', '-']).unwrap_or(power));
    let scaled = exponent.is_some_and(|power| !power.is_empty() && power.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= MOST
        && digits.matches('.').count() <= 1
        && digits.bytes().any(|b| (b'1'..=b'9').contains(&b))
        && (scaled || UNITS.contains(&number))
}

/// One line that an agent wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LogLine {
    /// Counts up within an agent, over pods and versions; what `Last-Event-ID` carries.
    pub seq: u64,
    /// When it was written, RFC 3339 with nanoseconds as the cluster says it.
    pub time: String,
    pub pod: String,
    /// The number of the deployment.
    pub version: u64,
    /// Without its end; secrets replaced.
    pub line: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_what_a_cluster_reads() {
        for good in ["1", "0.5", "500m", "512Mi", "2Gi", "1e3", "1E3", "1E", "12e-3", ".5", "5.", "100u", "1Ei"] {
            assert!(is_quantity(good), "{good}");
        }
        for bad in
            ["", "lots", "5x", "m", "-1", "+1", "1 Gi", "1gi", "1KB", "1.2.3", "1e", "1e+", "0", "0.0m", ".", "1Mi5"]
        {
            assert!(!is_quantity(bad), "{bad}");
        }
        assert!(!is_quantity(&"1".repeat(33)));
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
        for state in DeploymentState::ALL {
            assert_eq!(DeploymentState::parse(state.name()), Some(state));
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("{:?}", state.name()));
        }
        assert_eq!(DeploymentState::Pushing.contract_name(), "Starting");
        assert_eq!(DeploymentState::Up.contract_name(), "Up");
    }
}
