//! The operator's policy: the most that any tool or run may have. It is read once at the start, from the file in the
//! setting `policy`. Without a file, everything public is allowed and nothing private. A missing section has the same
//! default. The sections are defined beside their capabilities.

use std::path::Path;

use cofferdam_core::ConfigError;
use serde::Deserialize;

use crate::capabilities::{self, Files, KeyValue, Llm, Named, Network, Secrets, Switch};
use crate::signatures::Signatures;
use crate::tool::Version;
use crate::yaml::{self, PolicyError};

/// An operator's policy.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorPolicy {
    #[expect(dead_code, reason = "it only has to parse")]
    version: Version,
    #[serde(default)]
    #[expect(dead_code, reason = "for people; it only has to be text")]
    description: Option<String>,
    #[serde(default)]
    pub network: Network,
    #[serde(default)]
    pub keyvalue: KeyValue,
    #[serde(default)]
    pub files: Files,
    #[serde(default)]
    pub secrets: Secrets,
    #[serde(default)]
    pub tools: Named,
    #[serde(default)]
    pub config: Switch,
    #[serde(default)]
    pub llm: Llm,
    #[serde(default)]
    pub signatures: Signatures,
}

impl OperatorPolicy {
    /// Loads the policy from a file; without one, returns [`Self::default`].
    ///
    /// # Errors
    /// The file cannot be read, or its first invalid key.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let refused = |why: String| ConfigError::value("policy", format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| refused(e.to_string()))?;
        Self::parse(&text).map_err(|e| refused(e.to_string()))
    }

    /// Parses a policy.
    ///
    /// # Errors
    /// The first invalid key, with its path and line. The whole policy is refused.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let policy: Self = yaml::read(text)?;
        capabilities::all().try_for_each(|capability| capability.check_section(&policy))?;
        Ok(policy)
    }

    /// Returns true if the operator allows requests to that host (in lower case) and port. Checked for every request
    /// besides the grants, because a ban may cover only a part of a grant.
    pub fn permits_host(&self, https: bool, host: &str, port: u16) -> bool {
        self.network.allow.iter().any(|entry| entry.host.covers(https, host, port))
            && !self.network.deny.iter().any(|entry| entry.host.bans(host, port))
    }
}

#[cfg(test)]
#[path = "operator_tests.rs"]
mod tests;
