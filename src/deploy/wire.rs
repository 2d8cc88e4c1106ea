//! What the deploy-agent post answers, as far as this program shows it.

use serde::Deserialize;
use serde_json::Value;

/// Where an archive is sent.
#[derive(Debug, Clone, Deserialize)]
pub struct Link {
    pub deployment_id: String,
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
    pub reason: Option<String>,
    #[serde(default)]
    pub exit_code: Option<i32>,
    #[serde(default)]
    pub last_lines: Vec<String>,
    #[serde(default)]
    pub image: Option<String>,
    /// As it came.
    #[serde(flatten)]
    pub whole: Value,
}

/// One change of a deployment's state.
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    pub state: String,
    #[serde(default)]
    pub detail: String,
}
