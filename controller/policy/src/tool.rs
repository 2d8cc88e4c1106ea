//! A tool's policy: the permissions that its author requests, in a YAML document close to Wassette's `policy.yaml`. The
//! operator's policy is applied in [`super::effective`].

use std::collections::BTreeMap;

use cofferdam_contract::grants::{HttpGrant, KeyValueGrant, LlmGrant, SecretGrant};
use cofferdam_contract::{GrantKind, Grants, Limits, LimitsRequest};
use serde::Deserialize;

use super::capabilities::{self, Storage, ToolName, Variable};
use super::quantity::{Bytes, Cpu};
use super::yaml::{self, PolicyError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: Version,
    #[serde(default)]
    #[expect(dead_code, reason = "for people; it only has to be text")]
    description: Option<String>,
    #[serde(default)]
    permissions: Permissions,
}

/// The version of the format that this program knows.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Version;

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "1.0" | "1" => Ok(Self),
            other => Err(format!("version {other:?} is not known; this program reads \"1.0\"")),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Permissions {
    network: Allow<HttpGrant>,
    storage: Storage,
    environment: Allow<Variable>,
    secrets: Allow<SecretGrant>,
    tools: Allow<ToolName>,
    keyvalue: Option<KeyValueGrant>,
    llm: Option<LlmGrant>,
    resources: Resources,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Allow<T> {
    #[serde(default = "Vec::new")]
    allow: Vec<T>,
}

impl<T> Default for Allow<T> {
    fn default() -> Self {
        Self { allow: Vec::new() }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Resources {
    limits: ResourceLimits,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ResourceLimits {
    /// A share of one CPU over the wall time of a call.
    cpu: Option<Cpu>,
    memory: Option<Bytes>,
    wall_ms: Option<u64>,
    cpu_ms: Option<u64>,
    output_bytes: Option<Bytes>,
    disk_bytes: Option<Bytes>,
    files: Option<u64>,
}

/// The grants and limits that a tool's policy requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolPolicy {
    pub grants: Grants,
    pub limits: LimitsRequest,
    /// Notes for the author where the meaning differs from Wassette's.
    pub warnings: Vec<String>,
}

impl ToolPolicy {
    /// Parses a policy.
    ///
    /// # Errors
    /// The first invalid key, with its path and line. The whole policy is refused.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let Document { version: Version, permissions, .. } = yaml::read(text)?;
        let mut warnings = Vec::new();
        let mut grants = Grants {
            http: permissions.network.allow,
            secrets: permissions.secrets.allow,
            tools: permissions.tools.allow.into_iter().map(|tool| tool.name).collect(),
            keyvalue: permissions.keyvalue,
            files: permissions.storage.grant(&mut warnings)?,
            config: BTreeMap::new(),
            llm: permissions.llm,
        };
        for variable in permissions.environment.allow {
            variable.grant(&mut grants, &mut warnings);
        }
        super::check::grants(&grants).map_err(|e| PolicyError::at(in_policy(&e.path), e.what))?;
        Ok(Self { grants, limits: limits(&permissions.resources.limits)?, warnings })
    }
}

/// The place of a grant in this format.
fn in_policy(path: &str) -> String {
    for kind in GrantKind::ALL {
        if let Some(rest) = path.strip_prefix(kind.name()) {
            return format!("{}{rest}", capabilities::of(*kind).permission());
        }
    }
    path.to_owned()
}

fn limits(asked: &ResourceLimits) -> Result<LimitsRequest, PolicyError> {
    let wall_ms = asked.wall_ms.unwrap_or(Limits::DEFAULT.wall_ms);
    let share = |cpu: Cpu| match wall_ms.checked_mul(cpu.0).map(|ms| ms / 1_000) {
        Some(ms) if ms > 0 => Ok(ms),
        _ => Err(PolicyError::at("permissions.resources.limits.cpu", "leaves no time, or more than there is")),
    };
    if asked.cpu.is_some() && asked.cpu_ms.is_some() {
        let what = "say either `cpu` (a share of the wall time) or `cpu_ms`";
        return Err(PolicyError::at("permissions.resources.limits", what));
    }
    Ok(LimitsRequest {
        wall_ms: asked.wall_ms,
        cpu_ms: asked.cpu.map(share).transpose()?.or(asked.cpu_ms),
        memory_bytes: asked.memory.map(|bytes| bytes.0),
        output_bytes: asked.output_bytes.map(|bytes| bytes.0),
        disk_bytes: asked.disk_bytes.map(|bytes| bytes.0),
        files: asked.files,
    })
}

#[cfg(test)]
#[path = "tool_tests.rs"]
mod tests;
