//! Tasks and threads as they are shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::{ApprovalInfo, InvokeInput, Timestamp};
use crate::ids::{OrganizationId, TaskId, ThreadId};
use crate::{AgentId, Problem};

/// The state of a task, in the names of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, VariantArray, IntoStaticStr, EnumString)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum TaskStatus {
    /// It waits for a worker, for its turn in its thread, or for a retry.
    Pending,
    /// A worker has it, or it waits for a sub-agent.
    Executing,
    /// It waits for a person: see `internal_status`.
    Paused,
    /// We, a provider or a tool failed after all retries. It can be replayed.
    Error,
    /// It came to an end that is its own: a limit, a rule, a refusal of the model.
    Failed,
    Completed,
    /// A person, a deadline or its parent stopped it.
    Stopped,
}

impl TaskStatus {
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// True if nothing will happen to it any more, unless it is replayed.
    pub fn is_final(self) -> bool {
        match self {
            Self::Error | Self::Failed | Self::Completed | Self::Stopped => true,
            Self::Pending | Self::Executing | Self::Paused => false,
        }
    }
}

/// Why a task is in its state, as finely as a program needs to tell the cases apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, VariantArray, IntoStaticStr, EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Why {
    /// Pending: another task of its thread runs.
    WaitsForThread,
    /// Pending: it is tried again later.
    WaitsForRetry,
    /// Executing: it waits for a sub-agent's task.
    WaitsForSubAgent,
    /// Paused: the outcome of a tool call is unknown; somebody has to say whether it is made again, skipped, or what it gave.
    NeedsDecision,
    /// Paused: a tool call needs approval.
    NeedsApproval,
    /// Paused: somebody has to log in to a connector.
    NeedsLogin,
    /// Paused by a person.
    AskedToPause,
    /// Stopped by a person.
    AskedToStop,
    /// Stopped: its deadline passed.
    DeadlinePassed,
    /// Stopped: the task that made it ended.
    ParentEnded,
    StepLimit,
    TokenLimit,
    MoneyLimit,
    TimeLimit,
    DepthLimit,
    /// The answer does not match the output schema after all repairs.
    OutputInvalid,
    /// The model refused, or its answer was filtered.
    ModelRefused,
    /// The model failed, or its provider did, after all retries.
    ModelFailed,
    /// A rule or a budget forbids the call of the model.
    ModelForbidden,
    /// No model is configured.
    NoModel,
    /// The thread does not fit into the model's window.
    ContextFull,
    /// It took workers down with it.
    Poison,
    /// The agent was deleted or is not active.
    AgentGone,
    /// Our failure.
    Internal,
}

impl Why {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Tokens that a task used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskTokens {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    #[serde(default)]
    pub cache_read_tokens: u64,
    #[serde(default)]
    pub cache_write_tokens: u64,
    #[serde(default)]
    pub total_tokens: u64,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskInfo {
    pub id: TaskId,
    pub agent_id: AgentId,
    pub organization_id: OrganizationId,
    /// The thread that it belongs to.
    pub thread_id: ThreadId,
    pub input: InvokeInput,
    pub status: TaskStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internal_status: Option<Why>,
    /// A sentence that says more about the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The version of the agent that runs it.
    pub agent_version: String,
    /// The answer. JSON is written as text.
    pub result: Option<String>,
    /// The answer as the output schema has it; only where the agent has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub paused_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    /// The task that made it.
    pub parent_execution: Option<TaskId>,
    #[serde(default)]
    pub sub_executions: Vec<TaskId>,
    pub title: Option<String>,
    /// `api`, `sdk`, `mcp`, `agent`, `cli`.
    pub source: Option<String>,
    pub tokens: TaskTokens,
    /// Dollars, as decimal text.
    #[serde(default)]
    pub cost_usd: String,
    #[serde(default)]
    pub used_tools: Vec<String>,
    /// Model calls so far.
    pub steps: u32,
    /// Seconds from its start to its end, or until now.
    pub duration: f64,
    /// The number of times that it was handed to a worker.
    pub execution_attempts: u32,
    /// Higher is earlier; 0 by default, -10 to 10.
    pub priority: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Approvals and decisions that it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<ApprovalInfo>,
    /// The cause of `error` and `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// A thread: what was said between an agent and its user, over one task or many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ThreadInfo {
    pub id: ThreadId,
    pub agent_id: AgentId,
    pub organization_id: OrganizationId,
    pub title: Option<String>,
    pub messages: u64,
    pub last_event: u64,
    /// The task that runs or waits for a person.
    pub active_task: Option<TaskId>,
    /// The thread that it was forked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ThreadId>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
