//! Configuration values of a tool, in its environment and through `wasi:config`.

use cofferdam_contract::Grants;
use cofferdam_contract::grants::{MAX_CONFIG_BYTES, MAX_CONFIG_VALUES, SecretGrant};
use serde::Deserialize;

use super::{BadGrant, Capability, MAX_NAME, Notes, Split, bad};
use crate::operator::OperatorPolicy;

/// An operator's policy for configuration values.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Switch {
    pub allow: bool,
}

impl Default for Switch {
    fn default() -> Self {
        Self { allow: true }
    }
}

/// An environment variable in a tool's policy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Variable {
    key: String,
    #[serde(default)]
    value: Option<String>,
}

impl Variable {
    /// Adds the variable to the grants.
    pub(crate) fn grant(self, grants: &mut Grants, warnings: &mut Vec<String>) {
        let Self { key, value } = self;
        match value {
            Some(value) => drop(grants.config.insert(key, value)),
            // The server's own environment is never passed on, so a variable without a value means a secret.
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
}

pub(super) struct Config;

impl Capability for Config {
    fn permission(&self) -> &'static str {
        "permissions.environment.allow"
    }

    fn check(&self, grants: &Grants) -> Result<(), BadGrant> {
        let bytes: usize = grants.config.iter().map(|(name, value)| name.len() + value.len()).sum();
        if grants.config.len() > MAX_CONFIG_VALUES || bytes > MAX_CONFIG_BYTES {
            let what = format!("at most {MAX_CONFIG_VALUES} values and {MAX_CONFIG_BYTES} bytes in all");
            return Err(bad("config", what));
        }
        for (name, value) in &grants.config {
            if name.is_empty() || name.contains(['=', '\0']) || name.len() > MAX_NAME || value.contains('\0') {
                let shown: String = name.chars().take(50).collect();
                return Err(bad("config", format!("{shown:?}: a name without `=`, a value without NUL")));
            }
        }
        Ok(())
    }

    fn narrow(&self, asked: &Grants, operator: &OperatorPolicy, left: &mut Grants, notes: &mut Notes) {
        if operator.config.allow {
            left.config.clone_from(&asked.config);
        } else if !asked.config.is_empty() {
            notes.add("config", "config.allow", "configuration values are not allowed");
        }
    }

    fn for_snippets(&self) -> Result<Split, &'static str> {
        Err("give a snippet `env`")
    }
}
