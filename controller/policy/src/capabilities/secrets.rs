//! Secrets by name.

use std::collections::BTreeSet;

use cofferdam_contract::Grants;
use cofferdam_contract::grants::MAX_NAMES;
use serde::Deserialize;

use super::{BadGrant, Capability, MAX_NAME, Notes, Split, bad};
use crate::allowed::Allowed;
use crate::operator::OperatorPolicy;

/// An operator's policy for secrets.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Secrets {
    pub allow: Allowed,
    /// Allows sending a secret's value over plain HTTP, to the hosts it is bound to.
    pub plain_http: bool,
}

pub(super) struct SecretNames;

/// The message about too many names, which is the same for secrets and tools.
pub(super) fn too_many() -> BadGrant {
    bad("secrets", format!("at most {MAX_NAMES} secrets, and as many tools"))
}

impl Capability for SecretNames {
    fn permission(&self) -> &'static str {
        "permissions.secrets.allow"
    }

    fn check(&self, grants: &Grants) -> Result<(), BadGrant> {
        if grants.secrets.len() > MAX_NAMES {
            return Err(too_many());
        }
        let mut variables = BTreeSet::new();
        for (number, secret) in grants.secrets.iter().enumerate() {
            let name = &secret.name;
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
                return Err(bad(format!("secrets[{number}].name"), "1 to 128 letters, digits, `-`, `_` or `.`"));
            }
            let variable = secret.variable();
            if variable.is_empty() || variable.len() > MAX_NAME || variable.contains(['=', '\0']) {
                return Err(bad(format!("secrets[{number}].env"), "a variable's name without `=`"));
            }
            // Configuration values are variables, too.
            if !variables.insert(variable) || grants.config.contains_key(variable) {
                return Err(bad(format!("secrets[{number}].env"), format!("{variable:?} is there twice")));
            }
        }
        Ok(())
    }

    fn narrow(&self, asked: &Grants, operator: &OperatorPolicy, left: &mut Grants, notes: &mut Notes) {
        for (number, secret) in asked.secrets.iter().enumerate() {
            if operator.secrets.allow.allows(&secret.name) {
                left.secrets.push(secret.clone());
            } else {
                let detail = format!("{} is not allowed", secret.name);
                notes.add(format!("secrets[{number}]"), "secrets.allow", detail);
            }
        }
    }

    fn for_snippets(&self) -> Result<Split, &'static str> {
        Ok(|grants| {
            let alone = |grant: &_| Grants { secrets: vec![Clone::clone(grant)], ..Grants::default() };
            grants.secrets.iter().map(alone).collect()
        })
    }
}
