//! The agent's memory as tools: save, search, forget; and the memories that are put into a task's instructions. A person has
//! memories of his own where the definition says so, and never sees another's. What is remembered is data.

use cofferdam_contract::work::MemorySettings;
use cofferdam_core::Failure as _;
use serde::Deserialize;
use serde_json::json;

use super::{Attempt, Found, Kind, Later, bounded};
use crate::Error;
use crate::types::{Hints, PlannedCall, RunContext, ToolDone};

/// Memories that are put into the instructions where the definition does not say, and at most.
const DEFAULT_RECALLED: u32 = 20;
const MAX_RECALLED: u32 = 200;
/// Characters of all recalled memories together.
const MAX_RECALLED_CHARS: usize = 20_000;
const MAX_FOUND: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Save,
    Search,
    Forget,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    query: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Id {
    id: String,
}

pub(super) fn tools(settings: &MemorySettings) -> Vec<Found> {
    if !settings.enabled {
        return Vec::new();
    }
    let whose = if settings.per_user { "about this user" } else { "for all conversations of this agent" };
    let tool = |verb, name: &str, description: String, field: &str, says: &str, hints| Found {
        wanted: name.to_owned(),
        known_as: vec![name.to_owned()],
        description,
        parameters: json!({
            "type": "object",
            "properties": {field: {"type": "string", "description": says}},
            "required": [field],
            "additionalProperties": false
        }),
        hints,
        kind: Kind::Memory(verb),
        given: vec![name.to_owned()],
        claimed: None,
    };
    let reads = Hints { read_only: true, idempotent: true, ..Hints::default() };
    vec![
        tool(
            Verb::Save,
            "memory_save",
            format!(
                "Remember a fact {whose}, in a sentence that can be understood alone. Never save passwords or keys."
            ),
            "text",
            "The fact.",
            // A text that is there already is not saved again.
            Hints { idempotent: true, ..Hints::default() },
        ),
        tool(
            Verb::Search,
            "memory_search",
            "Search what was remembered, by words. Returns the facts with their ids.".to_owned(),
            "query",
            "Words.",
            reads,
        ),
        tool(
            Verb::Forget,
            "memory_forget",
            "Forget a fact by the id that memory_search shows.".to_owned(),
            "id",
            "The fact's id.",
            Hints { idempotent: true, destructive: true, ..Hints::default() },
        ),
    ]
}

/// The person whose memories count besides the agent's own; empty for none.
fn person(ctx: &RunContext) -> &str {
    if !ctx.agent.definition.memory.per_user {
        return "";
    }
    let said = ctx.task.request.input.user.as_ref().and_then(|user| user.id.as_deref());
    said.unwrap_or(ctx.thread.person.as_str())
}

/// The persons whose memories a task sees: its own, and the agent itself.
fn persons(ctx: &RunContext) -> Vec<&str> {
    match person(ctx) {
        "" => vec![""],
        person => vec![person, ""],
    }
}

/// The memories that are put into the instructions of a task, within their bounds. They are data, and have to be marked as such.
///
/// # Errors
/// The store failed.
pub(crate) async fn recalled(ctx: &RunContext) -> Result<Vec<String>, Error> {
    let settings = &ctx.agent.definition.memory;
    let most = settings.recalled.unwrap_or(DEFAULT_RECALLED).min(MAX_RECALLED);
    if !settings.enabled || most == 0 {
        return Ok(Vec::new());
    }
    let mut texts = Vec::new();
    let mut chars = 0_usize;
    for person in persons(ctx) {
        let left = u64::from(most).saturating_sub(texts.len() as u64);
        if left == 0 {
            break;
        }
        for memory in ctx.parts.agents.recall(&ctx.task.organization, &ctx.task.agent, person, left).await? {
            chars = chars.saturating_add(memory.content.chars().count());
            if chars > MAX_RECALLED_CHARS {
                return Ok(texts);
            }
            texts.push(memory.content);
        }
    }
    Ok(texts)
}

pub(super) async fn call(ctx: &RunContext, verb: Verb, call: &PlannedCall) -> Attempt {
    let arguments = call.arguments.clone();
    let made = match verb {
        Verb::Save => match serde_json::from_value::<Text>(arguments) {
            Ok(Text { text }) => save(ctx, &text).await,
            Err(error) => Ok(ToolDone::error(format!("arguments: {error}"))),
        },
        Verb::Search => match serde_json::from_value::<Query>(arguments) {
            Ok(Query { query }) => search(ctx, &query).await,
            Err(error) => Ok(ToolDone::error(format!("arguments: {error}"))),
        },
        Verb::Forget => match serde_json::from_value::<Id>(arguments) {
            Ok(Id { id }) => forget(ctx, &id).await,
            Err(error) => Ok(ToolDone::error(format!("arguments: {error}"))),
        },
    };
    match made {
        Ok(done) => Attempt::Done(done.into()),
        Err(error) => match error.refused() {
            Some(problem) => Attempt::Done(ToolDone::error(problem.detail.clone()).into()),
            // One transaction: it was written, or it was not. A second row with the same text does no harm that is seen.
            None => Later::from(error).into(),
        },
    }
}

async fn save(ctx: &RunContext, text: &str) -> Result<ToolDone, cofferdam_agents::Error> {
    // A call that is made again after a crash finds what it wrote.
    let (organization, agent) = (&ctx.task.organization, &ctx.task.agent);
    let known = ctx.parts.agents.search_memories(organization, agent, person(ctx), text, MAX_FOUND).await?;
    if let Some(same) = known.iter().find(|memory| memory.content == text) {
        return Ok(ToolDone::text(format!("Remembered already, as {}.", same.id)));
    }
    let id = ctx.parts.agents.remember(organization, agent, person(ctx), text).await?;
    Ok(ToolDone::text(format!("Remembered as {id}.")))
}

async fn search(ctx: &RunContext, query: &str) -> Result<ToolDone, cofferdam_agents::Error> {
    let mut lines = Vec::new();
    for person in persons(ctx) {
        let left = MAX_FOUND.saturating_sub(lines.len());
        let found =
            ctx.parts.agents.search_memories(&ctx.task.organization, &ctx.task.agent, person, query, left).await?;
        lines.extend(found.into_iter().map(|memory| format!("{}: {}", memory.id, memory.content)));
    }
    Ok(match lines.is_empty() {
        true => ToolDone::text("Nothing that was remembered has one of these words."),
        false => ToolDone::text(bounded(lines.join("\n"))),
    })
}

async fn forget(ctx: &RunContext, id: &str) -> Result<ToolDone, cofferdam_agents::Error> {
    // Only the person's own, or the agent's without persons: nobody forgets for all the others.
    let gone = ctx.parts.agents.forget_memory(&ctx.task.organization, &ctx.task.agent, person(ctx), id).await?;
    Ok(match gone {
        true => ToolDone::text("Forgotten."),
        false => ToolDone::error("There is no such memory of this user; memory_search shows the ids."),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_memory_unless_it_is_enabled() {
        assert!(tools(&MemorySettings::default()).is_empty());
        let found = tools(&MemorySettings { enabled: true, ..MemorySettings::default() });
        let names: Vec<&str> = found.iter().map(|found| found.wanted.as_str()).collect();
        assert_eq!(names, ["memory_save", "memory_search", "memory_forget"]);
        assert!(found.iter().all(|found| found.hints.may_repeat()));
    }
}
