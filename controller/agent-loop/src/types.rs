//! The types that the loop and its tools share: the task that runs, the tools that the model is offered, a call, its answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_agents::ActiveAgent;
use cofferdam_contract::AgentId;
use cofferdam_contract::work::{InvokeRequest, OnTimeout};
use cofferdam_core::Caller;
use cofferdam_store::{NewEvent, TaskRow, ThreadRow, ToolResult};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::parts::Parts;
use crate::tools::Source;

/// A task that runs: what a step and its tool calls may look at.
#[derive(Clone)]
pub struct RunContext {
    /// The task's row as it was at the last step.
    pub task: TaskRow,
    pub agent: Arc<ActiveAgent>,
    /// The thread's row as it was at the last step: tools keep their state (such as the id of a session) in `thread.state`.
    pub thread: ThreadRow,
    /// The key on whose behalf the task works, with the scopes that it had.
    pub caller: Caller,
    /// Cancelled when the task is asked to stop or to pause, its lease is lost, or the process ends.
    pub cancel: CancellationToken,
    /// The end of the task's time of work, or its deadline.
    pub deadline: Instant,
    pub parts: Arc<Parts>,
}

/// Claims about a tool that decide how its calls are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hints {
    pub read_only: bool,
    pub idempotent: bool,
    /// A tool that does not say is destructive.
    pub destructive: bool,
    /// Calls of it are never made beside others.
    pub sequential: bool,
    /// The claims are a server's own, which nothing proves: they never let a call be repeated.
    pub claimed_by_server: bool,
}

impl Hints {
    /// Returns true if a call whose outcome is unknown may be made again.
    pub fn may_repeat(self) -> bool {
        (self.read_only || self.idempotent) && !self.claimed_by_server
    }
}

/// A tool as the model is offered it.
#[derive(Debug, Clone)]
pub struct Offered {
    /// 1 to 64 of `[a-zA-Z0-9_-]`, unique in the task.
    pub name: String,
    pub description: String,
    /// A JSON Schema of an object.
    pub parameters: Value,
    pub hints: Hints,
    pub(crate) source: Source,
}

/// A call that the model asked for and that may be made.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedCall {
    /// Our id: unique within the task.
    pub id: String,
    pub step: u64,
    /// The place among the calls of its step.
    pub place: u64,
    pub tool: String,
    /// Always an object.
    pub arguments: Value,
    /// SHA-256 of tool and arguments: what a person has approved.
    pub digest: String,
}

impl PlannedCall {
    /// The same for every time that this call is made.
    pub fn idempotency_key(&self, task: &TaskRow) -> String {
        format!("{}/{}", task.id, self.id)
    }
}

/// The cost of a call besides time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ToolCost {
    /// Nano-dollars.
    pub nano_usd: u64,
}

/// A call that has a result.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ToolDone {
    pub result: ToolResult,
    pub cost: ToolCost,
    /// Changes of the thread's state: a key with `Null` is taken out.
    pub state: BTreeMap<String, Value>,
    /// Further events, such as `plan_updated`, written with the result.
    pub events: Vec<NewEvent>,
}

impl ToolDone {
    pub fn text(text: impl Into<String>) -> Self {
        Self { result: ToolResult { text: text.into(), value: None, is_error: false }, ..Self::default() }
    }

    pub fn error(text: impl Into<String>) -> Self {
        Self { result: ToolResult { text: text.into(), value: None, is_error: true }, ..Self::default() }
    }
}

/// The answer of a tool.
#[derive(Debug, Clone, PartialEq)]
pub enum ToolAnswer {
    Done(Box<ToolDone>),
    /// The call has left, and nobody knows what it did.
    Unknown {
        why: String,
    },
    /// The call is a task of another agent, which the loop writes; the task waits for its end.
    Child {
        agent: AgentId,
        request: Box<InvokeRequest>,
    },
    /// Somebody has to log in at this address first; the call was not made.
    Login {
        connector: String,
        url: String,
    },
}

impl From<ToolDone> for ToolAnswer {
    fn from(done: ToolDone) -> Self {
        Self::Done(Box::new(done))
    }
}

/// The decision of the agent's approval rules about a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    Allow,
    /// A person is asked.
    Ask {
        message: String,
        timeout: Duration,
        on_timeout: OnTimeout,
    },
    /// It is not made; the model is told.
    Deny {
        message: String,
    },
}
