//! The tools of a task: what the model is offered, what the rules say about a call, and the call itself.
//!
//! A tool that is missing is a note for the model and never a failure of the task. A failure of ours is tried again here, as long
//! as the call has not left; a failure of the tool is told to the model. Never decides twice: what was approved is what is called.

mod agents;
mod connectors;
mod memory;
mod names;
mod plan;
mod run_code;
mod shape;
mod text;
mod wasm;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::AgentId;
use cofferdam_contract::work::{Effect, ToolEntry, ToolOptions};
use serde_json::Value;

use crate::Error;
use crate::approval::{Judged, judge};
use crate::types::{Hints, Offered, PlannedCall, Ruling, RunContext, ToolAnswer, ToolDone};

pub(crate) use memory::recalled;
pub(crate) use text::{bounded, within};

/// Tools that a model is offered; providers take no more.
pub(crate) const MAX_OFFERED: usize = 128;
/// The size of all tools' descriptions and schemas together, in bytes.
const MAX_OFFERED_BYTES: usize = 256 << 10;
/// Notes about missing tools that the model is told.
const MAX_NOTES: usize = 32;
/// Tries of a call that did not leave, or that may be repeated.
const MAX_TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(250);
const MAX_WAIT: Duration = Duration::from_secs(8);
/// The time of a call where nothing says another, waiting for a place included.
const CALL_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// The place that a tool's calls go to.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) kind: Kind,
    /// Names that the organization gave, which rules know it by besides the offered one.
    given: Vec<String>,
    /// A server's own name for it.
    claimed: Option<String>,
    timeout: Option<Duration>,
    /// The definition says whether its calls may be repeated.
    repeatable: Option<bool>,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    RunCode(Arc<ToolOptions>),
    Wasm(wasm::Function),
    Connector(connectors::Place),
    /// Stands in the place of a connector's tools until somebody has logged in.
    Login {
        connector: String,
    },
    Agent(AgentId),
    Memory(memory::Verb),
    Plan,
}

/// A tool that was found, before it has its name.
struct Found {
    wanted: String,
    /// Names that `only` and `rename` may use.
    known_as: Vec<String>,
    description: String,
    parameters: Value,
    hints: Hints,
    kind: Kind,
    given: Vec<String>,
    claimed: Option<String>,
}

/// The failure of one attempt to make a call.
enum Attempt {
    Done(ToolAnswer),
    /// It has not left: it may be tried again, after this time at the earliest.
    NotSent {
        why: String,
        after: Option<Duration>,
    },
    /// It may have left.
    Unknown {
        why: String,
    },
}

/// Something of ours cannot be asked now. Nothing was done.
#[derive(Debug)]
pub(crate) struct Later(pub String);

impl From<Later> for Attempt {
    fn from(later: Later) -> Self {
        Self::NotSent { why: later.0, after: None }
    }
}

impl<E: cofferdam_core::Failure> From<E> for Later {
    fn from(error: E) -> Self {
        match error.refused() {
            Some(problem) => Self(problem.detail.clone()),
            None => {
                tracing::warn!(error = cofferdam_core::chain(&error), "a tool of an agent cannot be used now");
                Self("A failure of this server.".to_owned())
            }
        }
    }
}

/// The tools of a task.
pub(crate) struct Toolbox {
    offered: Vec<Offered>,
    /// Not offered, and still answered: what an earlier step may have called.
    hidden: Vec<Offered>,
    by_name: HashMap<String, usize>,
    notes: Vec<String>,
}

impl Toolbox {
    /// Finds the tools that the agent's definition names.
    ///
    /// # Errors
    /// The store failed. A tool that is missing is a note.
    pub(crate) async fn open(ctx: &RunContext) -> Result<Self, Error> {
        let definition = &ctx.agent.definition;
        let mut notes = Notes::default();
        // A connector is another server's affair: all of them are asked at once, and each waits for no other.
        let connectors = definition.tools.iter().map(|entry| connectors::look_up(ctx, entry));
        let mut connectors = futures_util::future::join_all(connectors).await;
        let mut groups: Vec<(Option<ToolOptions>, Vec<Found>)> = vec![(None, memory::tools(&definition.memory))];
        let mut late = Vec::new();
        for (entry, listed) in definition.tools.iter().zip(connectors.drain(..)) {
            let options = match entry {
                ToolEntry::Name(_) => None,
                ToolEntry::Options(options) => Some((**options).clone()),
            };
            match entry.name().split_once(':') {
                Some(("mcp", name)) => match listed {
                    Some(Ok(found)) => late.push((options, found)),
                    Some(Err(why)) => notes.missing(entry.name(), &why),
                    None => notes.missing(name, "it is not a connector"),
                },
                Some(("agent", id)) => match agents::tool(ctx, id).await? {
                    Ok(found) => groups.push((options, vec![found])),
                    Err(why) => notes.missing(entry.name(), &why),
                },
                Some(_) => notes.missing(entry.name(), "there is no such kind of tool"),
                None if entry.name() == run_code::NAME => {
                    groups.push((options.clone(), vec![run_code::tool(ctx, options.unwrap_or_default())]));
                }
                None if entry.name() == plan::NAME => groups.push((options, vec![plan::tool()])),
                None => match wasm::tools(ctx, entry.name()).await {
                    Ok(found) => groups.push((options, found)),
                    Err(why) => notes.missing(entry.name(), &why),
                },
            }
        }
        // Names that the organization gave come first: no server can take one of them.
        groups.append(&mut late);
        Ok(Self::of(groups, notes))
    }

    fn of(groups: Vec<(Option<ToolOptions>, Vec<Found>)>, mut notes: Notes) -> Self {
        let mut toolbox = Self { offered: Vec::new(), hidden: Vec::new(), by_name: HashMap::new(), notes: Vec::new() };
        let (mut taken, mut bytes, mut cut) = (names::Taken::default(), 0_usize, 0_usize);
        for (options, found) in groups {
            let options = options.unwrap_or_default();
            let wanted: Vec<Found> = found.into_iter().filter(|found| is_wanted(&options, found)).collect();
            let alone = wanted.len() == 1;
            for found in wanted {
                let hidden = matches!(&found.kind, Kind::Login { .. }) && found.description.is_empty();
                let tool = offer(found, &options, alone, &mut taken);
                if hidden {
                    toolbox.hidden.push(tool);
                    continue;
                }
                let size = tool.description.len() + tool.parameters.to_string().len();
                if toolbox.offered.len() >= MAX_OFFERED || bytes.saturating_add(size) > MAX_OFFERED_BYTES {
                    cut += 1;
                    continue;
                }
                bytes = bytes.saturating_add(size);
                toolbox.by_name.insert(tool.name.clone(), toolbox.offered.len());
                toolbox.offered.push(tool);
            }
        }
        if cut > 0 {
            notes.add(format!("{cut} further tools are left out: there are too many of them for a model."));
        }
        toolbox.notes = notes.0;
        toolbox
    }

    /// The tools that the model is offered.
    pub(crate) fn offered(&self) -> &[Offered] {
        &self.offered
    }

    /// Sentences about tools that are missing, for the instructions and the log.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The tool that has this name.
    pub(crate) fn find(&self, name: &str) -> Option<&Offered> {
        let offered = self.by_name.get(name).and_then(|at| self.offered.get(*at));
        offered.or_else(|| self.hidden.iter().find(|tool| tool.name == name))
    }

    /// The agent's rules about a call. A call of a tool that is not there is allowed: [`Self::call`] refuses it.
    pub(crate) fn ruling(&self, ctx: &RunContext, tool: &str, arguments: &Value) -> Ruling {
        let Some(offered) = self.find(tool) else { return Ruling::Allow };
        // Somebody who logs in is asked by that already.
        if matches!(offered.source.kind, Kind::Login { .. }) {
            return Ruling::Allow;
        }
        let judged = Judged {
            offered: &offered.name,
            given: &offered.source.given,
            claimed: offered.source.claimed.as_deref(),
            arguments,
            destructive: offered.hints.destructive,
            claimed_by_server: offered.hints.claimed_by_server,
        };
        let found = judge(&ctx.agent.definition.approvals, &judged);
        let message = found.message().unwrap_or_default().to_owned();
        match found.effect {
            Effect::Allow => Ruling::Allow,
            Effect::Deny => {
                let told = if message.is_empty() { "A rule of this agent forbids it.".to_owned() } else { message };
                Ruling::Deny { message: format!("The call was not made. {told}") }
            }
            Effect::Ask => {
                let timeout = Duration::from_millis(found.timeout_ms().unsigned_abs());
                Ruling::Ask { message, timeout, on_timeout: found.on_timeout() }
            }
        }
    }

    /// True if a call whose outcome is unknown may be made again, as the thread is now. A receipt keeps the answer; what is
    /// found after a crash is asked again, because a session may have come to be in between.
    pub(crate) fn may_repeat(&self, ctx: &RunContext, tool: &str) -> bool {
        let Some(offered) = self.find(tool) else { return false };
        match (&offered.source.kind, offered.source.repeatable) {
            (_, Some(said)) => said,
            (Kind::RunCode(options), None) => run_code::may_repeat(&ctx.thread.state, options),
            _ => offered.hints.may_repeat(),
        }
    }

    /// Makes a call. Dropping the future cancels it.
    pub(crate) async fn call(&self, ctx: &RunContext, call: &PlannedCall) -> ToolAnswer {
        let Some(offered) = self.find(&call.tool) else {
            let shown: String = call.tool.chars().take(80).collect();
            return ToolDone::error(format!("There is no tool {shown:?}. Use one of those that you are offered."))
                .into();
        };
        let repeatable = self.may_repeat(ctx, &call.tool);
        let mut tried = 0;
        loop {
            tried += 1;
            let attempt = self.attempt(ctx, offered, call, tried >= MAX_TRIES).await;
            let (why, after, may_have_left) = match attempt {
                Attempt::Done(answer) => return answer,
                Attempt::NotSent { why, after } => (why, after, false),
                Attempt::Unknown { why } => (why, None, true),
            };
            if may_have_left && !repeatable {
                return ToolAnswer::Unknown { why };
            }
            let wait = cofferdam_core::backoff(FIRST_WAIT, MAX_WAIT, tried).max(after.unwrap_or_default());
            if tried >= MAX_TRIES || tokio::time::Instant::now() + wait >= ctx.deadline {
                let made =
                    if may_have_left { "It may have been made, which does no harm." } else { "It was not made." };
                return ToolDone::error(format!("The call failed {tried} times: {why} {made}")).into();
            }
            tracing::debug!(task = %ctx.task.id, tool = call.tool, tried, why, "a tool call is tried again");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = ctx.cancel.cancelled() => {
                    return ToolDone::error(format!("The call was given up: {why}")).into();
                }
            }
        }
    }

    async fn attempt(&self, ctx: &RunContext, offered: &Offered, call: &PlannedCall, last: bool) -> Attempt {
        let source = &offered.source;
        let left = ctx.deadline.saturating_duration_since(tokio::time::Instant::now());
        let timeout = source.timeout.unwrap_or(CALL_TIMEOUT).min(left);
        let waits = if matches!(source.kind, Kind::RunCode(_)) { run_code::QUEUE_TIME } else { Duration::ZERO };
        let made = async {
            match &source.kind {
                Kind::RunCode(options) => run_code::call(ctx, options, call, timeout, last).await,
                Kind::Wasm(function) => wasm::call(ctx, function, call).await,
                Kind::Connector(place) => connectors::call(ctx, place, call, timeout).await,
                Kind::Login { connector } => connectors::login(ctx, connector).await,
                Kind::Agent(id) => agents::call(ctx, id, call).await,
                Kind::Memory(verb) => memory::call(ctx, *verb, call).await,
                Kind::Plan => plan::call(call),
            }
        };
        // A call with a limit of its own gets a little longer than that.
        match tokio::time::timeout(timeout.saturating_add(waits).min(left).saturating_add(GRACE), made).await {
            Ok(attempt) => attempt,
            Err(_) => Attempt::Unknown { why: format!("There was no answer within {} s.", timeout.as_secs()) },
        }
    }

    /// Puts what the thread keeps alive to rest, at the end of a task: its sessions are written to disk. In the background.
    pub(crate) fn rest(ctx: &RunContext) {
        crate::sessions::suspend(ctx);
    }
}

/// The time that an answer may be on its way after a call's own end.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn missing(&mut self, name: &str, why: &str) {
        let name: String = name.chars().take(100).collect();
        tracing::warn!(tool = name, why, "a tool of an agent is missing");
        self.add(format!("The tool {name} is not available now: {why}."));
    }

    fn add(&mut self, note: String) {
        if self.0.len() < MAX_NOTES {
            self.0.push(note);
        }
    }
}

fn is_wanted(options: &ToolOptions, found: &Found) -> bool {
    let Some(only) = &options.only else { return true };
    // A login is not a tool of the server.
    matches!(found.kind, Kind::Login { .. })
        || only.iter().any(|pattern| found.known_as.iter().any(|name| cofferdam_usage::matches(pattern, name)))
}

fn offer(found: Found, options: &ToolOptions, alone: bool, taken: &mut names::Taken) -> Offered {
    let renamed = found.known_as.iter().find_map(|name| options.rename.get(name));
    let identity = found.given.last().cloned().unwrap_or_else(|| found.wanted.clone());
    let identity = format!("{identity}/{}", found.claimed.as_deref().unwrap_or_default());
    let name = taken.give(renamed.unwrap_or(&found.wanted), &identity);
    let own = shape::description(&found.description);
    let description = match (&options.description, alone) {
        (None, _) => own,
        (Some(text), true) => shape::description(text),
        (Some(text), false) => shape::description(&format!("{text}\n{own}")),
    };
    let mut hints = found.hints;
    if let Some(sequential) = options.sequential {
        hints.sequential |= sequential;
    }
    if options.repeatable == Some(true) {
        // The definition vouches for it. That says nothing about harm.
        (hints.idempotent, hints.claimed_by_server) = (true, false);
        hints.destructive |= found.hints.claimed_by_server;
    } else if options.repeatable == Some(false) {
        (hints.idempotent, hints.read_only) = (false, false);
    }
    Offered {
        name,
        description,
        parameters: shape::parameters(found.parameters),
        hints,
        source: Source {
            kind: found.kind,
            given: found.given,
            claimed: found.claimed,
            timeout: options.timeout_s.map(Duration::from_secs),
            repeatable: options.repeatable,
        },
    }
}

#[cfg(test)]
mod tests;
