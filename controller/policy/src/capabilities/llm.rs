//! Models of the upstream that the operator configured. They cost money, so only listed ones are allowed.

use cofferdam_contract::Grants;
use cofferdam_contract::grants::LlmGrant;
use serde::Deserialize;

use super::{BadGrant, Capability, MAX_NAME, Notes, Split, bad, no_zeros};
use crate::allowed::Allowed;
use crate::operator::OperatorPolicy;
use crate::yaml::PolicyError;

const MAX_MODELS: usize = 64;

/// An operator's policy for models.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Llm {
    pub allow: Allowed,
    pub max_tokens: Option<u64>,
    pub max_requests: Option<u64>,
}

impl Default for Llm {
    fn default() -> Self {
        Self { allow: Allowed::None, max_tokens: None, max_requests: None }
    }
}

pub(super) struct Models;

impl Capability for Models {
    fn permission(&self) -> &'static str {
        "permissions.llm"
    }

    fn check(&self, grants: &Grants) -> Result<(), BadGrant> {
        match &grants.llm {
            Some(grant) => check(grant).map_err(|(key, what)| bad(format!("llm.{key}"), what)),
            None => Ok(()),
        }
    }

    fn narrow(&self, asked: &Grants, operator: &OperatorPolicy, left: &mut Grants, notes: &mut Notes) {
        let Some(asked) = &asked.llm else { return };
        let models = notes.named(("llm.models", "llm.allow"), &asked.models, &operator.llm.allow);
        if models.is_empty() {
            return;
        }
        let mut grant = LlmGrant { models, ..asked.clone() };
        notes.bound(&mut grant.max_tokens, operator.llm.max_tokens, "llm.max_tokens");
        notes.bound(&mut grant.max_requests, operator.llm.max_requests, "llm.max_requests");
        left.llm = Some(grant);
    }

    fn for_snippets(&self) -> Result<Split, &'static str> {
        Ok(|grants| grants.llm.iter().map(|grant| Grants { llm: Some(grant.clone()), ..Grants::default() }).collect())
    }

    fn check_section(&self, policy: &OperatorPolicy) -> Result<(), PolicyError> {
        no_zeros([("llm.max_tokens", policy.llm.max_tokens), ("llm.max_requests", policy.llm.max_requests)])
    }
}

fn check(grant: &LlmGrant) -> Result<(), (&'static str, String)> {
    let plain = |name: &String| (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    if grant.models.is_empty() || grant.models.len() > MAX_MODELS || !grant.models.iter().all(plain) {
        return Err(("models", format!("1 to {MAX_MODELS} models' names without spaces, or `*`")));
    }
    match [("max_tokens", grant.max_tokens), ("max_requests", grant.max_requests)].into_iter().find(|(_, n)| *n == 0) {
        Some((name, _)) => Err((name, "at least 1".to_owned())),
        None => Ok(()),
    }
}
