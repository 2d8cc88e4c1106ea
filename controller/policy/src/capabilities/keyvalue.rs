//! Key-value storage of a tool.

use cofferdam_contract::Grants;
use serde::Deserialize;

use super::{BadGrant, Capability, Notes, Split, bad, no_zeros};
use crate::operator::OperatorPolicy;
use crate::yaml::PolicyError;

/// An operator's policy for key-value storage.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyValue {
    pub allow: bool,
    pub max_bytes: Option<u64>,
    pub max_keys: Option<u64>,
}

impl Default for KeyValue {
    fn default() -> Self {
        Self { allow: true, max_bytes: Some(256 << 20), max_keys: Some(1_000_000) }
    }
}

pub(super) struct KeyValueStore;

impl Capability for KeyValueStore {
    fn permission(&self) -> &'static str {
        "permissions.keyvalue"
    }

    fn check(&self, grants: &Grants) -> Result<(), BadGrant> {
        match &grants.keyvalue {
            Some(grant) if grant.max_bytes == 0 || grant.max_keys == 0 => {
                Err(bad("keyvalue", "max_bytes and max_keys are at least 1"))
            }
            _ => Ok(()),
        }
    }

    fn narrow(&self, asked: &Grants, operator: &OperatorPolicy, left: &mut Grants, notes: &mut Notes) {
        let Some(mut grant) = asked.keyvalue else { return };
        if !operator.keyvalue.allow {
            return notes.add("keyvalue", "keyvalue.allow", "key-value storage is not allowed");
        }
        notes.bound(&mut grant.max_bytes, operator.keyvalue.max_bytes, "keyvalue.max_bytes");
        notes.bound(&mut grant.max_keys, operator.keyvalue.max_keys, "keyvalue.max_keys");
        left.keyvalue = Some(grant);
    }

    fn for_snippets(&self) -> Result<Split, &'static str> {
        Err("a snippet keeps things in a session's variables and files")
    }

    fn check_section(&self, policy: &OperatorPolicy) -> Result<(), PolicyError> {
        no_zeros([("keyvalue.max_bytes", policy.keyvalue.max_bytes), ("keyvalue.max_keys", policy.keyvalue.max_keys)])
    }
}
