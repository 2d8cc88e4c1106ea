//! What is to be done about an agent, from what is written of it. Pure: no clock, no store, no cluster. The same rows
//! always give the same plan, which is why a driver that was killed anywhere can be followed by another.

use cofferdam_contract::DeploymentState as State;

use crate::store::{AgentRow, DeploymentRow, Source, Wanted};

/// One thing to do about one deployment. At most one is under way for a deployment at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Another one was asked for after it: it is given up.
    Supersede { by: u64 },
    /// It is to end.
    WindDown,
    /// Its image lies where it was uploaded and has to be brought.
    Carry,
    /// Its Job is to be made.
    Apply,
    /// Its Job is there; has it come up?
    Look,
    /// It serves; does it still?
    Watch,
    /// It crashed and is to be made again.
    Recover,
    /// What is left of it is to be taken away.
    Remove,
}

/// What is to be done, by deployments' numbers. Nothing at all of an agent that is to be deleted means that its rows can
/// go.
pub fn plan(agent: &AgentRow, rows: &[DeploymentRow]) -> Vec<(u64, Action)> {
    let runs = |row: &&DeploymentRow| row.turn > 0 && !row.is_over() && row.state != State::Stopping;
    // The one that was asked for last, among those that could run.
    let top = rows.iter().filter(runs).filter(|row| !row.image.is_empty()).max_by_key(|row| row.turn);
    rows.iter().filter_map(|row| Some((row.number, action(agent, row, top)?))).collect()
}

fn action(agent: &AgentRow, row: &DeploymentRow, top: Option<&DeploymentRow>) -> Option<Action> {
    if row.is_over() {
        return row.placed.then_some(Action::Remove);
    }
    if row.state == State::Stopping {
        return Some(Action::Remove);
    }
    let ends = match agent.wanted {
        Wanted::Run => false,
        Wanted::Stop => row.turn > 0,
        Wanted::Delete => true,
    };
    if ends {
        return Some(Action::WindDown);
    }
    if row.turn == 0 {
        return None;
    }
    if row.image.is_empty() {
        return (row.source == Source::Upload).then_some(Action::Carry);
    }
    let later = top.filter(|top| top.turn > row.turn);
    if let Some(later) = later
        && row.number != agent.serving
    {
        return Some(Action::Supersede { by: later.number });
    }
    match row.state {
        State::Applying => Some(Action::Apply),
        State::Starting => Some(Action::Look),
        State::Up => Some(Action::Watch),
        // What goes in its place is on its way; it is taken away when that is ready.
        State::CrashLoop if later.is_some() => None,
        State::CrashLoop => Some(Action::Recover),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
