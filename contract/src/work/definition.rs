//! The definition of an agent: what one version of it says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{EnumString, IntoStaticStr};

use super::ApprovalRule;
use crate::grants::Grants;
use crate::limits::LimitsRequest;
use crate::object::object;

/// The runner of an agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, EnumString)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AgentKind {
    /// Our loop.
    #[default]
    Serverless,
    /// A container of its own, that is deployed.
    Container,
}

/// The state of an agent's version, and of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, EnumString)]
#[serde(rename_all = "UPPERCASE")]
#[strum(serialize_all = "UPPERCASE")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AgentStatus {
    /// It can be changed and tried, and is not used otherwise.
    Draft,
    /// The one that tasks use. It never changes.
    Active,
    /// Was active, or is switched off.
    Inactive,
}

impl AgentStatus {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ReasoningEffort {
    Low,
    Medium,
    High,
    Xhigh,
}

/// A tool that an agent may use: its name alone, or with options.
///
/// Names: `run_code`; `TOOL` (all functions of a deployed Wasm tool) or `TOOL-FUNCTION`; `mcp:CONNECTOR`; `agent:ID`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ToolEntry {
    Name(String),
    Options(Box<ToolOptions>),
}

impl ToolEntry {
    pub fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Options(options) => &options.name,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ToolOptions {
    pub name: String,
    /// Only these of a connector's tools or a tool's functions; `*` stands for any characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<String>>,
    /// Other names, as the model is offered them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rename: BTreeMap<String, String>,
    /// Instead of the tool's own description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Calls may be repeated after a crash: they are idempotent or only read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeatable: Option<bool>,
    /// Calls of it are never made beside others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequential: Option<bool>,
    /// Seconds that a call may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
    /// The grants of `run_code`'s code, within those that the operator allows. The model cannot ask for others.
    #[serde(default, skip_serializing_if = "Grants::is_empty", deserialize_with = "object")]
    pub grants: Grants,
    /// The limits of a run of `run_code`, within the operator's.
    #[serde(default, skip_serializing_if = "no_limits", deserialize_with = "object")]
    pub limits: LimitsRequest,
}

fn no_limits(limits: &LimitsRequest) -> bool {
    *limits == LimitsRequest::default()
}

/// Limits of one task of the agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentLimits {
    /// Calls of the model; 50 by default, 1,000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Tokens in and out, its sub-agents' included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Dollars as decimal text, its sub-agents' included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<String>,
    /// Seconds of work, without waiting for people; 1 hour by default, 24 hours at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_s: Option<u64>,
    /// Levels of agents that call agents: 3 by default, 8 at most; 0 forbids it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// Tool calls of one step that are made at once: 8 by default, 32 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// Tokens of one answer of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u64>,
    /// Hand-outs after which a task whose worker died is not tried again: 3 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Tasks of this agent that run at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MemorySettings {
    /// The agent may save, search and forget facts that last over threads.
    #[serde(default)]
    pub enabled: bool,
    /// Each user has memories of his own besides the agent's.
    #[serde(default)]
    pub per_user: bool,
    /// Memories that are put into the instructions of a task: 20 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalled: Option<u32>,
    /// Messages of the thread that the model sees: all that fit by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<u32>,
}

/// The number of times that an answer which does not match the output schema is sent back to the model: 2 by default.
pub type OutputRepair = u32;

/// The definition of an agent: what one version of it says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentDefinition {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instructions: String,
    /// A model or an alias of the AI gateway. The organization's alias `default` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_effort: Option<ReasoningEffort>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The model's window in tokens, where it is known better than from the built-in table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolEntry>,
    #[serde(default)]
    pub limits: AgentLimits,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalRule>,
    /// JSON Schema of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_repairs: Option<OutputRepair>,
    #[serde(default)]
    pub memory: MemorySettings,
    /// Kept and shown again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}
