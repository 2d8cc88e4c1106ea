//! What the deploy-agent post answers, as far as this program shows it.

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;

/// Where an archive is sent.
#[derive(Debug, Clone, Deserialize)]
pub struct Link {
    pub deployment_id: String,
    /// The deployment's number.
    pub version: u64,
    pub link: String,
    /// Headers that the upload has to carry.
    #[serde(default)]
    pub headers: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Deployment {
    pub agent: String,
    pub number: u64,
    pub state: String,
    #[serde(default)]
    pub detail: String,
    #[serde(default)]
    pub exit_code: Option<i32>,
    #[serde(default)]
    pub last_lines: Vec<String>,
    /// As it came.
    #[serde(skip)]
    pub whole: Value,
}

impl Deployment {
    /// # Errors
    /// An answer that is none.
    pub fn read(answer: Value) -> anyhow::Result<Self> {
        let mut deployment = Self::deserialize(&answer).context("the server's answer")?;
        deployment.whole = answer;
        Ok(deployment)
    }
}

/// One change of a deployment's state.
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    pub state: String,
    #[serde(default)]
    pub detail: String,
}
