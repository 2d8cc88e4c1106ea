//! Events of a thread, in the names of the contract.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::Timestamp;
use crate::ids::{OrganizationId, TaskId, ThreadId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, VariantArray, IntoStaticStr, EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum EventType {
    /// `data` is the task.
    TaskCreated,
    /// The task's state changed; `data` is the task.
    TaskUpdated,
    /// The last event of a task; `data` is the task.
    TaskFinished,
    /// A piece of the answer: `data` is text.
    Chunk,
    /// A piece of the model's reasoning: `data` is `{"text"}`.
    Think,
    Analyze,
    ToolCallRequest,
    ToolCallResult,
    SubAgentTrigger,
    PlanUpdated,
    /// A person has to log in to a connector.
    AuthEvent,
    /// A tool call waits for approval or for a decision: `data` is an `ApprovalInfo`.
    ApprovalRequested,
    /// It was approved, declined, decided, or its time is over.
    ApprovalSettled,
    /// The context was compacted.
    TaskCompactization,
    /// The share of the model's window that is used.
    ContextStatus,
    /// The answer that was being streamed is withdrawn (its stream broke, or it is repaired); its chunks since the last message do not count.
    AnswerReset,
}

impl EventType {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// An event of a thread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventInfo {
    /// Counted in its thread from 1, without gaps: the SSE id.
    pub id: u64,
    #[serde(rename = "type")]
    pub kind: EventType,
    pub task_id: TaskId,
    pub thread_id: ThreadId,
    pub organization_id: OrganizationId,
    pub time: Timestamp,
    pub data: Value,
}
