//! People in the loop: rules that say which tool calls need approval, and what is asked of a person.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Timestamp;
use crate::AgentId;
use crate::ids::{TaskId, ThreadId};

/// The effect of a rule on the calls that it matches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Effect {
    /// A person has to approve.
    #[default]
    Ask,
    /// It is made without asking. An earlier rule that asks or denies still counts.
    Allow,
    /// It is refused; the model is told.
    Deny,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum OnTimeout {
    /// The call is declined and the task goes on.
    #[default]
    Decline,
    /// The task ends.
    Stop,
}

/// A rule. The first one that matches a call decides; a call that none matches is made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApprovalRule {
    /// A tool's name, as the model is offered it; `*` stands for any characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Patterns of arguments: JSON pointer to pattern with `*`, matched against the value as text; all have to match.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub arguments: std::collections::BTreeMap<String, String>,
    /// Only tools that are (not) destructive. A tool that does not say is destructive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destructive: Option<bool>,
    #[serde(default)]
    pub effect: Effect,
    /// Seconds that a person has; 24 hours by default, 30 days at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
    #[serde(default)]
    pub on_timeout: OnTimeout,
    /// Shown to the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A person's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Verdict {
    /// The call is made with exactly these arguments.
    Approve,
    /// It is not made; the model is told, with the note.
    Decline,
    /// It is made with other arguments, `arguments`.
    Edit,
    /// The call, whose outcome is unknown, is made again.
    Retry,
    /// The model is told that the call, whose outcome is unknown, may or may not have happened.
    Skip,
    /// The call, whose outcome is unknown, gave `result`.
    Result,
}

/// The answer of a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Decide {
    pub verdict: Verdict,
    /// The digest of what was shown; another one is refused, so that nobody approves what he has not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A tool call that waits for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApprovalInfo {
    /// The call's id: unique within its task.
    pub call_id: String,
    pub task_id: TaskId,
    pub thread_id: ThreadId,
    pub agent_id: AgentId,
    pub tool: String,
    pub arguments: Value,
    /// SHA-256 of tool and arguments, in hex.
    pub digest: String,
    /// True if the outcome of the call is unknown, false if it was not made yet.
    pub unknown_outcome: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub requested_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}
