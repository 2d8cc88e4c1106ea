//! Agents at work: definitions, tasks, threads, messages, events, approvals. Names and shapes are those that existing clients
//! expect, so that there is no second model.

pub mod approval;
pub mod connector;
pub mod definition;
pub mod event;
pub mod invoke;
pub mod message;
pub mod task;
mod timestamp;

pub use approval::{ApprovalInfo, ApprovalRule, Decide, Effect, OnTimeout, Verdict};
pub use connector::{
    ConnectorAuth, ConnectorInfo, ConnectorLogin, ConnectorReport, ConnectorSpec, ConnectorTool, McpVersion, Sealed,
    ToolHints,
};
pub use definition::{
    AgentDefinition, AgentKind, AgentLimits, AgentStatus, MemorySettings, OutputRepair, ReasoningEffort, ToolEntry,
    ToolOptions,
};
pub use event::{EventInfo, EventType};
pub use invoke::{InvokeInput, InvokeRequest, TaskUser};
pub use message::{AskedCall, Content, MessageInfo, Role};
pub use task::{TaskInfo, TaskStatus, TaskTokens, ThreadInfo, Why};
pub use timestamp::Timestamp;
