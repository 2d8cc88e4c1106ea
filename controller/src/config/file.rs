//! The `--config` file: TOML, every field optional, unknown fields refused.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cofferdam_contract::LimitsRequest;
use cofferdam_models::settings::ModelsFile;
use serde::Deserialize;

use super::registries::RegistrySection;
use cofferdam_core::ConfigError;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    pub listen: Option<String>,
    pub data_dir: Option<PathBuf>,
    pub database_url: Option<String>,
    pub redis_url: Option<String>,
    pub drain_s: Option<u64>,
    /// Agents' tasks that this process runs at once.
    pub agent_slots: Option<u64>,
    /// Certificates that the gateway trusts in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The operator's policy, a YAML file.
    pub policy: Option<PathBuf>,
    #[serde(default)]
    pub limits: LimitsSection,
    #[serde(default)]
    pub sessions: SessionsSection,
    #[serde(default)]
    pub keys: KeysSection,
    /// The limits of organizations that have none of their own.
    #[serde(default)]
    pub organizations: OrganizationsSection,
    #[serde(default)]
    pub uploads: UploadsSection,
    #[serde(default)]
    pub workers: WorkersSection,
    /// The URL of the object store.
    pub object_store: Option<String>,
    #[serde(default)]
    pub logs: LogsSection,
    /// The operator's upstreams of models, aliases and prices.
    #[serde(default)]
    pub models: ModelsFile,
    #[serde(default)]
    pub usage: UsageSection,
    /// The registries that components may be pulled from, by host.
    #[serde(default)]
    pub registries: BTreeMap<String, RegistrySection>,
    /// Settings of the local worker, passed on verbatim; the worker refuses unknown ones.
    #[serde(default)]
    pub worker: toml::Table,
    /// The same for the local worker of tools.
    #[serde(default)]
    pub tool_worker: toml::Table,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsSection {
    #[serde(default)]
    pub default: LimitsRequest,
    #[serde(default)]
    pub maximum: LimitsRequest,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionsSection {
    pub max: Option<u64>,
    pub max_per_key: Option<u64>,
    pub max_life_s: Option<u64>,
    pub idle_suspend_s: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysSection {
    pub max_per_organization: Option<u64>,
    pub requests_per_minute: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrganizationsSection {
    pub requests_per_minute: Option<u32>,
    pub max_concurrent_tasks: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadsSection {
    pub max_image_bytes: Option<u64>,
    pub max: Option<u64>,
    pub max_per_organization: Option<u64>,
    pub idle_s: Option<u64>,
    pub wait_s: Option<u64>,
    pub max_s: Option<u64>,
    pub public_url: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogsSection {
    pub days: Option<u64>,
    pub bytes: Option<u64>,
    pub rate_bytes: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageSection {
    pub days: Option<u32>,
    pub content_days: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkersSection {
    pub addresses: Option<Vec<String>>,
}

impl ConfigFile {
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|e| ConfigError::File(e.to_string()))
    }
}
