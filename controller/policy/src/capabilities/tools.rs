//! Deployed tools that may be called, by name.

use cofferdam_contract::Grants;
use cofferdam_contract::grants::MAX_NAMES;
use serde::Deserialize;

use super::secrets::too_many;
use super::{BadGrant, Capability, Notes, Split, bad};
use crate::allowed::Allowed;
use crate::operator::OperatorPolicy;

/// An operator's policy for calling tools.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Named {
    pub allow: Allowed,
}

/// A tool in a tool's policy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolName {
    pub(crate) name: String,
}

pub(super) struct ToolNames;

impl Capability for ToolNames {
    fn permission(&self) -> &'static str {
        "permissions.tools.allow"
    }

    fn check(&self, grants: &Grants) -> Result<(), BadGrant> {
        if grants.tools.len() > MAX_NAMES {
            return Err(too_many());
        }
        match grants.tools.iter().position(|name| name != "*" && !tool_name(name)) {
            Some(number) => Err(bad(format!("tools[{number}]"), "a tool's name (1 to 64 of a-z, 0-9, `-`), or `*`")),
            None => Ok(()),
        }
    }

    fn narrow(&self, asked: &Grants, operator: &OperatorPolicy, left: &mut Grants, notes: &mut Notes) {
        left.tools = notes.named(("tools", "tools.allow"), &asked.tools, &operator.tools.allow);
    }

    fn for_snippets(&self) -> Result<Split, &'static str> {
        Ok(|grants| {
            let alone = |name: &String| Grants { tools: vec![name.clone()], ..Grants::default() };
            grants.tools.iter().map(alone).collect()
        })
    }
}

/// Returns true if this is a valid tool name.
pub fn tool_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}
