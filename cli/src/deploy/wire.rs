//! The parts of the deploy-agent post's answers that this program shows.

use cofferdam_contract::{DeploymentState, Progress};
use serde::Deserialize;
use serde_json::Value;

use crate::client::ClientError;

/// The place to send an archive to.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Link {
    pub(super) deployment_id: String,
    /// The deployment's number.
    pub(super) version: u64,
    pub(super) link: String,
    /// Headers that the upload has to carry.
    #[serde(default)]
    pub(super) headers: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Deployment {
    pub(crate) agent: String,
    pub(crate) number: u64,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) detail: String,
    #[serde(default)]
    pub(crate) exit_code: Option<i32>,
    #[serde(default)]
    pub(crate) last_lines: Vec<String>,
    /// The number of its newest event.
    #[serde(default)]
    pub(crate) last_event: u64,
    /// The whole answer.
    #[serde(skip)]
    pub(crate) whole: Value,
}

impl Deployment {
    /// Its progress. A state that only a newer server knows counts as pending.
    pub(crate) fn progress(&self) -> Progress {
        DeploymentState::parse(&self.state).map_or(Progress::Pending, DeploymentState::progress)
    }

    /// # Errors
    /// The answer is not a deployment.
    pub(crate) fn read(answer: Value) -> anyhow::Result<Self> {
        let mut deployment = Self::deserialize(&answer).map_err(|_| ClientError::Foreign)?;
        deployment.whole = answer;
        Ok(deployment)
    }
}

/// One change of a deployment's state.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Event {
    pub(super) state: String,
    #[serde(default)]
    pub(super) detail: String,
}

impl Event {
    /// As [`Deployment::progress`].
    pub(super) fn progress(&self) -> Progress {
        DeploymentState::parse(&self.state).map_or(Progress::Pending, DeploymentState::progress)
    }
}
