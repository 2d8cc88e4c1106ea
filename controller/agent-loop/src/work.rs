//! The door to agents at work: makes tasks of active agents, and gives what api and mcp need besides.

use std::sync::Arc;

use cofferdam_agents::Agents;
use cofferdam_contract::AgentId;
use cofferdam_contract::work::{InvokeRequest, TaskInfo};
use cofferdam_core::Caller;
use cofferdam_tasks::Tasks;
use tokio_util::sync::CancellationToken;

use crate::parts::Parts;
use crate::{Error, invoke, worker};

/// A task that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Invoked {
    pub task: TaskInfo,
    /// The idempotency key was used before for the same request: this is that task.
    pub again: bool,
}

/// Agents at work.
#[derive(Debug)]
pub struct Work {
    parts: Arc<Parts>,
}

impl Work {
    pub fn new(parts: Arc<Parts>) -> Arc<Self> {
        Arc::new(Self { parts })
    }

    /// Makes a task. It is durable when this returns, whatever becomes of the caller.
    ///
    /// # Errors
    /// There is no such active agent; the request is invalid; no model is configured; the organization has too many unfinished tasks.
    pub async fn invoke(
        &self,
        caller: &Caller,
        agent: &AgentId,
        request: InvokeRequest,
        source: &'static str,
    ) -> Result<Invoked, Error> {
        invoke::invoke(&self.parts, caller, agent, request, source).await
    }

    pub fn tasks(&self) -> &Arc<Tasks> {
        &self.parts.tasks
    }

    pub fn agents(&self) -> &Arc<Agents> {
        &self.parts.agents
    }

    /// Takes tasks and runs them, until it drains; ends when the tasks under way have come to a step's end, or at `stop`.
    pub async fn run(self: Arc<Self>, draining: CancellationToken, stop: CancellationToken) {
        worker::run(&self.parts, &draining, &stop).await;
    }
}
