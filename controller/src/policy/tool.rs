//! A tool's policy: what its author asks for, in a YAML document close to Wassette's `policy.yaml`. It only asks; what
//! the operator allows of it is [`super::effective`]'s to say.

use std::collections::BTreeMap;

use cofferdam_contract::grants::{FilesGrant, HttpGrant, KeyValueGrant, LlmGrant, SecretGrant};
use cofferdam_contract::{Grants, Limits, LimitsRequest};
use serde::Deserialize;

use super::limits::{Bytes, Cpu};
use super::yaml::{self, PolicyError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: Version,
    #[serde(default)]
    #[expect(dead_code, reason = "for people; it has to be text")]
    description: Option<String>,
    #[serde(default)]
    permissions: Permissions,
}

/// The version of the format that this program knows.
#[derive(Deserialize)]
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
struct Storage {
    allow: Vec<Place>,
    max_bytes: Option<Bytes>,
    max_files: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    uri: String,
    access: Vec<Access>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Access {
    Read,
    Write,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    key: String,
    #[serde(default)]
    value: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToolName {
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Resources {
    limits: ResourceLimits,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ResourceLimits {
    /// A share of one CPU over the call's wall time.
    cpu: Option<Cpu>,
    memory: Option<Bytes>,
    wall_ms: Option<u64>,
    cpu_ms: Option<u64>,
    output_bytes: Option<Bytes>,
    disk_bytes: Option<Bytes>,
    files: Option<u64>,
}

/// What a tool's policy asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolPolicy {
    pub grants: Grants,
    pub limits: LimitsRequest,
    /// What its author should know: where we read something otherwise than Wassette does.
    pub warnings: Vec<String>,
}

impl ToolPolicy {
    /// Reads a policy.
    ///
    /// # Errors
    /// What is wrong first, with the key's path and the line; nothing of the policy counts then.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let Document { version: Version, permissions, .. } = yaml::read(text)?;
        let mut warnings = Vec::new();
        let mut grants = Grants {
            http: permissions.network.allow,
            secrets: permissions.secrets.allow,
            tools: permissions.tools.allow.into_iter().map(|tool| tool.name).collect(),
            keyvalue: permissions.keyvalue,
            files: files(permissions.storage, &mut warnings)?,
            config: BTreeMap::new(),
            llm: permissions.llm,
        };
        for Variable { key, value } in permissions.environment.allow {
            match value {
                Some(value) => drop(grants.config.insert(key, value)),
                // There is no environment of the server's to pass on: a variable without a value is a secret's.
                None if grants.secrets.iter().any(|secret| secret.variable() == key) => {}
                None => {
                    warnings.push(format!(
                        "environment variable {key}: without a value it is the secret {key}; the sandbox gets a \
                         placeholder (cofferdam secret set {key} --host HOST)"
                    ));
                    grants.secrets.push(SecretGrant { name: key, env: None });
                }
            }
        }
        super::check::grants(&grants).map_err(|e| PolicyError::at(in_policy(&e.path), e.what))?;
        Ok(Self { grants, limits: limits(&permissions.resources.limits)?, warnings })
    }
}

/// Where a grant stands in this format.
fn in_policy(path: &str) -> String {
    for (ours, theirs) in [
        ("http", "permissions.network.allow"),
        ("secrets", "permissions.secrets.allow"),
        ("tools", "permissions.tools.allow"),
        ("keyvalue", "permissions.keyvalue"),
        ("files", "permissions.storage"),
        ("config", "permissions.environment.allow"),
        ("llm", "permissions.llm"),
    ] {
        if let Some(rest) = path.strip_prefix(ours) {
            return format!("{theirs}{rest}");
        }
    }
    path.to_owned()
}

fn files(storage: Storage, warnings: &mut Vec<String>) -> Result<Option<FilesGrant>, PolicyError> {
    if storage.allow.is_empty() {
        return Ok(None);
    }
    let usual = FilesGrant::default();
    let mut grant = FilesGrant {
        read_only: true,
        max_bytes: storage.max_bytes.map_or(usual.max_bytes, |bytes| bytes.0),
        max_files: storage.max_files.unwrap_or(usual.max_files),
    };
    for (number, place) in storage.allow.iter().enumerate() {
        let wrong = |key: &str, what: &str| PolicyError::at(format!("permissions.storage.allow[{number}].{key}"), what);
        if place.access.is_empty() {
            return Err(wrong("access", "say read, write or both"));
        }
        let Some(path) = place.uri.strip_prefix("fs://") else {
            return Err(wrong("uri", "only fs:// is known: a folder of the tool's own"));
        };
        if !matches!(path, "" | "data" | "data/**" | "**") {
            warnings.push(format!(
                "storage {:?}: a tool gets a folder of its own; no path leads to the server's files",
                place.uri.chars().take(100).collect::<String>()
            ));
        }
        grant.read_only &= !place.access.contains(&Access::Write);
    }
    Ok(Some(grant))
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
