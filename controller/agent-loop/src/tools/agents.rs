//! Other agents as tools: a call is a task of its own, which the loop writes and waits for. Agents of the same organization only.

use cofferdam_contract::work::{AgentStatus, InvokeInput, InvokeRequest};
use cofferdam_contract::{AgentId, ThreadId};
use serde::Deserialize;
use serde_json::json;

use super::{Attempt, Found, Kind, Later};
use crate::Error;
use crate::limits;
use crate::types::{Hints, PlannedCall, RunContext, ToolAnswer, ToolDone};

/// The longest input of a sub-agent, in bytes.
const MAX_INPUT_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    input: String,
    #[serde(default)]
    thread: Option<String>,
}

/// The agent as a tool; or a sentence that says why it is none.
///
/// # Errors
/// The store failed.
pub(super) async fn tool(ctx: &RunContext, id: &str) -> Result<Result<Found, String>, Error> {
    let Ok(id) = AgentId::parse(id) else { return Ok(Err("this is no agent's id".to_owned())) };
    let Some(agent) = ctx.parts.agents.active(&ctx.task.organization, &id).await? else {
        return Ok(Err("there is no such active agent".to_owned()));
    };
    if depth_reached(ctx) {
        return Ok(Err("agents may not call agents any deeper than this".to_owned()));
    }
    let about = match agent.definition.description.trim() {
        "" => String::new(),
        text => format!(" {text}"),
    };
    let name = if agent.name.is_empty() { id.as_str() } else { agent.name.as_str() };
    let description = format!(
        "Give the agent {name} a task and get its answer.{about} It sees nothing of this conversation: say all that it needs in \
         `input`. Its answer names a thread; with `thread` it goes on there."
    );
    Ok(Ok(Found {
        wanted: id.as_str().to_owned(),
        known_as: vec![id.as_str().to_owned(), format!("agent:{id}")],
        description,
        parameters: json!({
            "type": "object",
            "properties": {
                "input": {"type": "string", "description": "The task, in words."},
                "thread": {"type": "string", "description": "The thread of an earlier answer of this agent, to go on there."}
            },
            "required": ["input"],
            "additionalProperties": false
        }),
        // The other task and the receipt that names it are written at once: as long as it says `sent`, nothing was made.
        hints: Hints { idempotent: true, destructive: true, ..Hints::default() },
        given: vec![format!("agent:{id}")],
        kind: Kind::Agent(id),
        claimed: None,
    }))
}

/// Says no without asking the store: the agent's own limit.
fn depth_reached(ctx: &RunContext) -> bool {
    ctx.task.depth >= limits::depth(&ctx.agent.definition.limits)
}

const TOO_DEEP: &str =
    "it was not called: agents may not call agents any deeper than this. Do it yourself, or answer without it";

pub(super) async fn call(ctx: &RunContext, id: &AgentId, call: &PlannedCall) -> Attempt {
    let told = |text: String| Attempt::Done(ToolDone::error(text).into());
    let arguments: Arguments = match serde_json::from_value(call.arguments.clone()) {
        Ok(arguments) => arguments,
        Err(error) => return told(format!("arguments: {error}")),
    };
    if arguments.input.trim().is_empty() || arguments.input.len() > MAX_INPUT_BYTES {
        return told(format!("arguments.input: 1 to {MAX_INPUT_BYTES} bytes"));
    }
    match ctx.parts.agents.active(&ctx.task.organization, id).await {
        Ok(Some(agent)) if agent.status == AgentStatus::Active => {}
        Ok(_) => return told(format!("The agent {id} was not called: it is not active.")),
        Err(error) => return Later::from(error).into(),
    }
    match line(ctx, id).await {
        Ok(Line::Free) => {}
        Ok(Line::TooDeep) => return told(format!("The agent {id}: {TOO_DEEP}.")),
        Ok(Line::Cycle) => {
            return told(format!(
                "The agent {id} was not called: it waits for this very task, and would wait for itself. Do it yourself, or \
                 answer without it."
            ));
        }
        Err(later) => return later.into(),
    }
    let thread = match thread(ctx, id, arguments.thread.as_deref()).await {
        Ok(thread) => thread,
        Err(attempt) => return attempt,
    };
    let request = InvokeRequest {
        input: InvokeInput { text: arguments.input, files: Vec::new(), user: ctx.task.request.input.user.clone() },
        thread,
        ..InvokeRequest::default()
    };
    Attempt::Done(ToolAnswer::Child { agent: id.clone(), request: Box::new(request) })
}

/// The tasks that wait for this one, as seen by an agent that is to join them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Free,
    /// The agent is among them.
    Cycle,
    /// One of them allows no task so far below it.
    TooDeep,
}

async fn line(ctx: &RunContext, id: &AgentId) -> Result<Line, Later> {
    if depth_reached(ctx) {
        return Ok(Line::TooDeep);
    }
    if ctx.task.agent == *id {
        return Ok(Line::Cycle);
    }
    let (mut parent, mut below) = (ctx.task.parent.clone(), 1_u32);
    // A line is never longer than the depth that its task was made at.
    while let Some(task) = parent.filter(|_| below <= ctx.task.depth) {
        let Some(row) = ctx.parts.tasks.store().task(&ctx.task.organization, &task).await? else { break };
        if row.agent == *id {
            return Ok(Line::Cycle);
        }
        let version = ctx.parts.agents.version(&row.organization, &row.agent, &row.agent_version).await?;
        // This task is `below` levels under it, the new one would be one more.
        if version.is_some_and(|agent| below >= limits::depth(&agent.definition.limits)) {
            return Ok(Line::TooDeep);
        }
        (parent, below) = (row.parent, below.saturating_add(1));
    }
    Ok(Line::Free)
}

/// The thread to go on with: one of this agent that an earlier call of this very thread has made. A model knows the ids of others,
/// if somebody told it; it may not read them.
async fn thread(ctx: &RunContext, id: &AgentId, asked: Option<&str>) -> Result<Option<String>, Attempt> {
    let Some(asked) = asked.map(str::trim).filter(|asked| !asked.is_empty()) else { return Ok(None) };
    let unknown = || {
        let shown: String = asked.chars().take(80).collect();
        let text = format!(
            "arguments.thread: the agent {id} has no thread {shown:?} of this conversation; leave it out for a new one"
        );
        Attempt::Done(ToolDone::error(text).into())
    };
    let parsed = ThreadId::parse(asked).map_err(|_| unknown())?;
    let store = ctx.parts.tasks.store();
    let row = store.thread(&ctx.task.organization, &parsed).await.map_err(|error| Attempt::from(Later::from(error)))?;
    let Some(row) = row.filter(|row| row.agent == *id) else { return Err(unknown()) };
    if !is_ours(ctx, &row.id).await.map_err(|error| Attempt::from(Later::from(error)))? {
        return Err(unknown());
    }
    Ok(Some(asked.to_owned()))
}

/// True if a task of this thread made the first task of that one.
async fn is_ours(ctx: &RunContext, thread: &ThreadId) -> Result<bool, cofferdam_store::Error> {
    let store = ctx.parts.tasks.store();
    let which = cofferdam_store::TaskQuery {
        thread: Some(thread.clone()),
        limit: 100,
        ..cofferdam_store::TaskQuery::default()
    };
    for task in store.tasks(&ctx.task.organization, &which).await? {
        let Some(parent) = task.parent else { continue };
        if store.task(&ctx.task.organization, &parent).await?.is_some_and(|parent| parent.thread == ctx.thread.id) {
            return Ok(true);
        }
    }
    Ok(false)
}
