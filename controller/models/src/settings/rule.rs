//! Rules: which models a key, an agent or everybody of an organization may use, and how. All rules that apply have to allow.
//! And privacy: contents are stored only where the organization asks for it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::pattern::check_model;

/// The most patterns or regions of a rule.
const MAX_ITEMS: usize = 100;
/// The longest id of a key or name of an agent or region.
const MAX_TEXT_BYTES: usize = 128;

/// Those whom a rule is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// Every call of the organization.
    Organization,
    /// Calls with the key that has this id.
    Key(String),
    /// Calls for the agent with this name.
    Agent(String),
}

/// A rule. A field that is left out allows everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    #[serde(rename = "for")]
    pub subject: Subject,
    /// Patterns of the names that may be asked for, with `*` for any characters. None: no model at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(["openai/*", "claude-*"]))]
    pub models: Option<Vec<String>>,
    /// The most tokens of an answer, of all its choices together. A call that asks for more is refused; one that names no
    /// limit gets this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// The regions in which upstreams may be. An upstream without a region is in none of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regions: Option<Vec<String>>,
}

/// The part of an organization's calls that is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Privacy {
    /// Requests and answers are stored with the record of each call. Texts that have the shape of a well-known credential and
    /// private keys are taken out of them; a secret without such a shape is not.
    pub store_contents: bool,
}

impl RuleSpec {
    pub(super) fn check(&self) -> Result<(), String> {
        match &self.subject {
            Subject::Organization => {}
            Subject::Key(text) => check_text("for.key", text)?,
            Subject::Agent(text) => check_text("for.agent", text)?,
        }
        let models = self.models.as_deref().unwrap_or_default();
        let regions = self.regions.as_deref().unwrap_or_default();
        if models.len() > MAX_ITEMS {
            return Err(format!("models: at most {MAX_ITEMS} patterns"));
        }
        for (at, pattern) in models.iter().enumerate() {
            check_model(&format!("models[{at}]"), pattern, true)?;
        }
        if regions.len() > MAX_ITEMS {
            return Err(format!("regions: at most {MAX_ITEMS}"));
        }
        for (at, region) in regions.iter().enumerate() {
            check_text(&format!("regions[{at}]"), region)?;
        }
        if self.max_tokens == Some(0) {
            return Err("max_tokens: at least 1; to forbid every model use \"models\": []".to_owned());
        }
        if self.models.is_none() && self.regions.is_none() && self.max_tokens.is_none() {
            return Err("the rule says nothing: give `models`, `max_tokens` or `regions`".to_owned());
        }
        Ok(())
    }
}

fn check_text(field: &str, text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > MAX_TEXT_BYTES || text.chars().any(char::is_control) {
        return Err(format!("{field}: 1 to {MAX_TEXT_BYTES} bytes without control characters"));
    }
    Ok(())
}
