//! Limits of a task: of itself, and of the tasks above it in its tree, whose tokens and money it uses too. A limit is looked at before
//! each call of the model, so that what is over it is at most one call.

use std::time::Duration;

use cofferdam_contract::work::{AgentLimits, Why};
use cofferdam_store::{TaskRow, Used};

/// Defaults and maxima.
const STEPS: u32 = 50;
const MAX_STEPS: u32 = 1_000;
const WALL: Duration = Duration::from_secs(3_600);
const MAX_WALL: Duration = Duration::from_secs(86_400);
const DEPTH: u32 = 3;
const MAX_DEPTH: u32 = 8;
const PARALLEL: u32 = 8;
const MAX_PARALLEL: u32 = 32;

pub(crate) fn steps(limits: &AgentLimits) -> u64 {
    u64::from(limits.steps.unwrap_or(STEPS).clamp(1, MAX_STEPS))
}

pub(crate) fn wall(limits: &AgentLimits) -> Duration {
    limits.wall_s.map_or(WALL, Duration::from_secs).min(MAX_WALL)
}

pub(crate) fn depth(limits: &AgentLimits) -> u32 {
    limits.depth.unwrap_or(DEPTH).min(MAX_DEPTH)
}

pub(crate) fn parallel(limits: &AgentLimits) -> usize {
    limits.parallel.unwrap_or(PARALLEL).clamp(1, MAX_PARALLEL) as usize
}

/// Nano-dollars that a task of the agent may use. A text that is no amount was refused when the agent was made.
pub(crate) fn money(limits: &AgentLimits) -> Option<u64> {
    limits.cost_usd.as_deref().map(|text| cofferdam_usage::nanos(text).unwrap_or(0))
}

/// A limit that is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reached {
    pub why: Why,
    pub detail: String,
}

/// Looks at the limits of one agent with what was used of them. `whose` says whose limit it is.
pub(crate) fn of_used(limits: &AgentLimits, used: &Used, whose: &str) -> Option<Reached> {
    let tokens = used.prompt_tokens.saturating_add(used.completion_tokens);
    if let Some(most) = limits.tokens.filter(|most| tokens >= *most) {
        return Some(Reached {
            why: Why::TokenLimit,
            detail: format!("{whose} limit of {most} tokens is reached: {tokens} were used."),
        });
    }
    let most = money(limits).filter(|most| used.cost >= *most)?;
    let detail = format!(
        "{whose} limit of {} US dollars is reached: {} were used.",
        cofferdam_usage::dollars(most),
        cofferdam_usage::dollars(used.cost)
    );
    Some(Reached { why: Why::MoneyLimit, detail })
}

/// Looks at the task's own limits.
pub(crate) fn own(limits: &AgentLimits, task: &TaskRow) -> Option<Reached> {
    let most = steps(limits);
    if task.used.steps >= most {
        return Some(Reached { why: Why::StepLimit, detail: format!("The limit of {most} steps is reached.") });
    }
    if Duration::from_millis(task.used.worked_ms) >= wall(limits) {
        return Some(time(limits));
    }
    of_used(limits, &task.used, "The")
}

/// The time of work is over.
pub(crate) fn time(limits: &AgentLimits) -> Reached {
    let detail = format!("The limit of {} seconds of work is reached.", wall(limits).as_secs());
    Reached { why: Why::TimeLimit, detail }
}

/// The sum of what two tasks used; steps and time are each one's own.
pub(crate) fn with(used: Used, more: &Used) -> Used {
    Used { steps: used.steps, worked_ms: used.worked_ms, ..add(used, more) }
}

fn add(used: Used, more: &Used) -> Used {
    Used {
        steps: used.steps.saturating_add(more.steps),
        prompt_tokens: used.prompt_tokens.saturating_add(more.prompt_tokens),
        completion_tokens: used.completion_tokens.saturating_add(more.completion_tokens),
        cache_read_tokens: used.cache_read_tokens.saturating_add(more.cache_read_tokens),
        cache_write_tokens: used.cache_write_tokens.saturating_add(more.cache_write_tokens),
        cost: used.cost.saturating_add(more.cost),
        worked_ms: used.worked_ms.saturating_add(more.worked_ms),
    }
}

/// Adds all of it up.
pub(crate) fn sum(used: &mut Used, more: &Used) {
    *used = add(*used, more);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_defaults_and_maxima() {
        let none = AgentLimits::default();
        let wild =
            AgentLimits { steps: Some(0), wall_s: Some(u64::MAX), depth: Some(99), parallel: Some(0), ..none.clone() };
        assert_eq!((steps(&none), wall(&none), depth(&none), parallel(&none)), (50, WALL, 3, 8));
        assert_eq!((steps(&wild), wall(&wild), depth(&wild), parallel(&wild)), (1, MAX_WALL, 8, 1));
    }

    #[test]
    fn tokens_and_money_are_limited() {
        let used = Used { prompt_tokens: 90, completion_tokens: 10, cost: 2_000_000_000, ..Used::default() };
        let with = |tokens, cost: Option<&str>| {
            let limits = AgentLimits { tokens, cost_usd: cost.map(str::to_owned), ..AgentLimits::default() };
            of_used(&limits, &used, "The").map(|reached| reached.why)
        };
        assert_eq!(with(Some(100), None), Some(Why::TokenLimit));
        assert_eq!(with(Some(101), None), None);
        assert_eq!(with(None, Some("2")), Some(Why::MoneyLimit));
        assert_eq!(with(None, Some("2.01")), None);
        // A limit that cannot be read allows nothing.
        assert_eq!(with(None, Some("much")), Some(Why::MoneyLimit));
    }
}
