//! The registries that components are pulled from and pushed to, each with its credentials. No other registry is ever
//! contacted: a deployer must not choose what this process connects to.

use std::collections::BTreeMap;
use std::time::Duration;

use cofferdam_core::Secret;

/// A registry that the operator allows.
#[derive(Debug, Clone, Default)]
pub struct KnownRegistry {
    pub plain_http: bool,
    /// Name and password.
    pub credentials: Option<(String, Secret)>,
}

/// The registries that the operator allows.
#[derive(Debug, Clone)]
pub struct RegistriesConfig {
    /// By `host` or `host:port`.
    known: BTreeMap<String, KnownRegistry>,
    /// The longest silence in the middle of an answer.
    pub silence: Duration,
}

impl RegistriesConfig {
    /// The registries by `host` or `host:port`, and the longest silence in the middle of an answer.
    pub fn new(known: BTreeMap<String, KnownRegistry>, silence: Duration) -> Self {
        Self { known, silence }
    }

    pub fn find(&self, host: &str) -> Option<&KnownRegistry> {
        self.known.get(host)
    }

    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.known.keys().map(String::as_str)
    }
}
