//! Active agents over MCP: each is a tool `ask_ID`. Its task is durable: a client that goes away leaves it running, a client that
//! cancels stops it. Never runs a task: the composition brings [`Agents`].

use std::sync::Arc;

use cofferdam_contract::work::{InvokeInput, InvokeRequest, TaskInfo, TaskStatus};
use cofferdam_contract::{AgentId, OrganizationId, TaskId, ThreadId};
use cofferdam_core::{Caller, Failure, Scope};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use rmcp::ErrorData as McpError;
use rmcp::model::{
    CallToolResult, ContentBlock, JsonObject, ProgressNotificationParam, ProgressToken, Tool as McpTool,
};
use rmcp::service::{Peer, RoleServer};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::calls::UnderWay;
use crate::tools::refused;

/// The names of agents' tools begin so. No deployed tool has a name with `_`.
pub(crate) const PREFIX: &str = "ask_";
/// A call with this key in its `_meta` makes one task, however often it is sent.
const IDEMPOTENCY_KEY: &str = "dev.cofferdam/idempotency-key";
/// The longest word of a progress notification, in characters.
const MAX_WORD: usize = 500;

/// A failure that knows the party at fault.
pub type Failed = Box<dyn Failure>;

/// An active agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentTool {
    pub id: AgentId,
    pub name: String,
    pub description: String,
}

/// The active agents of an organization.
#[derive(Debug, Clone)]
pub struct ActiveAgents {
    /// Another number after each change.
    pub revision: u64,
    /// By their ids.
    pub agents: Arc<[AgentTool]>,
}

/// A step of a task, as it is told.
pub enum Step {
    Word(String),
    /// The task has ended, or waits for somebody.
    End(Box<TaskInfo>),
}

/// A task under way. Dropped, it goes on.
pub struct Running {
    pub task: TaskId,
    pub thread: ThreadId,
    pub steps: BoxStream<'static, Step>,
    /// Stops the task, if it is polled.
    pub stop: BoxFuture<'static, ()>,
}

/// The agents behind the tools.
pub trait Agents: Send + Sync {
    /// The active agents of an organization; from memory, because it is asked every second for each listener.
    fn active<'a>(&'a self, organization: &'a OrganizationId) -> BoxFuture<'a, Result<ActiveAgents, Failed>>;

    /// Makes a task. It is durable when this returns.
    fn ask<'a>(
        &'a self,
        caller: &'a Caller,
        agent: &'a AgentId,
        request: InvokeRequest,
    ) -> BoxFuture<'a, Result<Running, Failed>>;
}

/// No agents: for processes and tests without any.
pub struct NoAgents;

impl Agents for NoAgents {
    fn active<'a>(&'a self, _: &'a OrganizationId) -> BoxFuture<'a, Result<ActiveAgents, Failed>> {
        Box::pin(async { Ok(ActiveAgents { revision: 0, agents: Arc::default() }) })
    }

    fn ask<'a>(
        &'a self,
        _: &'a Caller,
        agent: &'a AgentId,
        _: InvokeRequest,
    ) -> BoxFuture<'a, Result<Running, Failed>> {
        let missing = format!("There is no active agent {:?}.", agent.as_str());
        Box::pin(async move { Err(Box::new(cofferdam_contract::Problem::not_found(missing)) as Failed) })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    input: String,
    thread: Option<String>,
}

fn object(value: &Value) -> Arc<JsonObject> {
    Arc::new(value.as_object().cloned().unwrap_or_default())
}

/// An agent as it is listed.
pub(crate) fn tool(agent: &AgentTool) -> McpTool {
    let about = match agent.description.is_empty() {
        true => format!("Asks the agent {}.", agent.name),
        false => format!("Asks the agent {}: {}", agent.name, agent.description),
    };
    let input = json!({
        "type": "object",
        "properties": {
            "input": { "type": "string", "minLength": 1, "description": "What the agent is to do" },
            "thread": { "type": "string", "description": "The thread to go on with, as an answer before named it" },
        },
        "required": ["input"],
        "additionalProperties": false,
    });
    let output = json!({
        "type": "object",
        "properties": {
            "task": { "type": "string" },
            "thread": { "type": "string" },
            "status": { "type": "string" },
            "result": { "type": ["string", "null"] },
            "output": {},
        },
        "required": ["task", "thread", "status"],
    });
    let mut listed = McpTool::new(format!("{PREFIX}{}", agent.id.as_str()), about, object(&input));
    listed.output_schema = Some(object(&output));
    listed
}

/// The client that is told of a call's progress.
pub(crate) struct Listener {
    pub(crate) peer: Peer<RoleServer>,
    pub(crate) token: Option<ProgressToken>,
    told: f64,
    /// The client has gone.
    gone: CancellationToken,
}

impl Listener {
    pub(crate) fn new(peer: Peer<RoleServer>, token: Option<ProgressToken>, gone: CancellationToken) -> Self {
        Self { peer, token, told: 0.0, gone }
    }

    async fn tell(&mut self, word: &str) {
        let Some(token) = self.token.clone() else { return };
        self.told += 1.0;
        let word: String = word.chars().take(MAX_WORD).collect();
        let word = ProgressNotificationParam::new(token, self.told).with_message(word);
        // A client that ignores progress still gets its answer.
        let _ = self.peer.notify_progress(word).await;
    }
}

/// Asks an agent, and waits until its task ends or needs somebody.
///
/// # Errors
/// Wrong arguments, or the client cancelled. A failure of the task is a result.
pub(crate) async fn call(
    agents: &dyn Agents,
    caller: &Caller,
    id: &str,
    arguments: JsonObject,
    key: Option<String>,
    mut listener: Listener,
    under_way: &UnderWay,
) -> Result<CallToolResult, McpError> {
    if !caller.scopes.cover(Scope::Invoke) {
        return Err(McpError::invalid_params("asking agents needs a key with the scope `invoke`", None));
    }
    let id = AgentId::parse(id).map_err(|_| McpError::invalid_params("there is no such agent", None))?;
    let arguments: Arguments = serde_json::from_value(Value::Object(arguments))
        .map_err(|error| McpError::invalid_params(format!("arguments: {error}"), None))?;
    let request = InvokeRequest {
        input: InvokeInput { text: arguments.input, ..InvokeInput::default() },
        thread: arguments.thread,
        idempotency_key: key,
        ..InvokeRequest::default()
    };
    let running = match agents.ask(caller, &id, request).await {
        Ok(running) => running,
        Err(error) => return refused(&*error),
    };
    let Running { task, thread, mut steps, stop } = running;
    let gone = listener.gone.clone();
    // The first word names the task: a client that goes away finds it again.
    listener.tell(&format!("task {task}, thread {thread}")).await;
    loop {
        tokio::select! {
            step = steps.next() => match step {
                Some(Step::Word(word)) => listener.tell(&word).await,
                Some(Step::End(info)) => return Ok(result(&info)),
                None => {
                    let mut lost = CallToolResult::error(vec![ContentBlock::text(format!("The task {task} goes on; its end was not seen here."))]);
                    lost.structured_content = Some(json!({ "task": task, "thread": thread, "status": "executing" }));
                    return Ok(lost);
                }
            },
            () = under_way.cancelled() => {
                stop.await;
                return Err(McpError::internal_error("cancelled", None));
            }
            // The task goes on.
            () = gone.cancelled() => return Err(McpError::internal_error("the client has gone", None)),
        }
    }
}

/// The key that a call's `_meta` names.
pub(crate) fn idempotency_key(meta: &Value) -> Option<String> {
    // Apart from the keys of the other API.
    meta.get(IDEMPOTENCY_KEY).and_then(Value::as_str).map(|key| format!("mcp:{key}"))
}

fn result(task: &TaskInfo) -> CallToolResult {
    let text = match task.status {
        TaskStatus::Completed => task.result.clone().unwrap_or_default(),
        status => {
            let detail = task.detail.clone().or_else(|| task.problem.as_ref().map(|problem| problem.detail.clone()));
            let status = serde_json::to_value(status).ok().and_then(|name| name.as_str().map(str::to_owned));
            format!("The task is {}. {}", status.unwrap_or_default(), detail.unwrap_or_default()).trim_end().to_owned()
        }
    };
    let content = vec![ContentBlock::text(text)];
    let mut result = match task.status {
        TaskStatus::Completed | TaskStatus::Paused | TaskStatus::Pending | TaskStatus::Executing => {
            CallToolResult::success(content)
        }
        TaskStatus::Error | TaskStatus::Failed | TaskStatus::Stopped => CallToolResult::error(content),
    };
    let mut structured = json!({
        "task": task.id, "thread": task.thread_id, "status": task.status, "result": task.result,
    });
    if let (Some(map), Some(output)) = (structured.as_object_mut(), &task.output) {
        map.insert("output".to_owned(), output.clone());
    }
    result.structured_content = Some(structured);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_tool_has_a_name_that_no_other_tool_can_have() {
        let agent =
            AgentTool { id: AgentId::parse("run").unwrap(), name: "Run".to_owned(), description: String::new() };
        let listed = tool(&agent);
        assert_eq!((&*listed.name, listed.description.as_deref()), ("ask_run", Some("Asks the agent Run.")));
        assert_ne!(listed.name, crate::run_code::NAME);
    }
}
