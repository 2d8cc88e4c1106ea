//! The plan for an agent, made from its rows alone. Pure: no clock, no store, no cluster. The same rows always give the
//! same plan, so another driver can follow one that was killed at any point.

use cofferdam_contract::DeploymentState as State;
use cofferdam_store::{AgentRow, DeploymentRow, ImageSource, Wanted};

use crate::states::runs;

/// The next step for one deployment. At most one step of a deployment is under way at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Give it up: version `by` was asked for after it.
    Supersede { by: u64 },
    /// End it.
    WindDown,
    /// Have its image carried into the registry from the bucket it was uploaded to.
    Carry,
    /// Create its Job.
    Apply,
    /// See if its Job has come up.
    Look,
    /// See if it still serves.
    Watch,
    /// Remove it after a crash, to create it again.
    Recover,
    /// Remove what the cluster has of it.
    Remove,
    /// Try once to remove it, and forget it whatever the cluster says.
    Abandon,
}

/// The next steps by deployment number. An empty plan for an agent that is to be deleted means that its rows can go.
pub(super) fn plan(agent: &AgentRow, rows: &[DeploymentRow]) -> Vec<(u64, Action)> {
    // The last one that was asked for, among those that have an image.
    let newest = rows.iter().filter(|row| runs(row) && !row.image.is_empty()).max_by_key(|row| row.turn);
    rows.iter().filter_map(|row| Some((row.number, action(agent, row, newest)?))).collect()
}

fn action(agent: &AgentRow, row: &DeploymentRow, newest: Option<&DeploymentRow>) -> Option<Action> {
    let removal = if agent.wanted == Wanted::Abandon { Action::Abandon } else { Action::Remove };
    let step = match row.state {
        State::Failed | State::Stopped => return row.placed.then_some(removal),
        State::Stopping => return Some(removal),
        // An image that has arrived for a deployment that is to run has put it into `Applying`.
        State::Uploading | State::Pushing => None,
        State::Applying => Some(Action::Apply),
        State::Starting => Some(Action::Look),
        State::Up => Some(Action::Watch),
        State::CrashLoop => Some(Action::Recover),
    };
    let ends = match agent.wanted {
        Wanted::Run => false,
        Wanted::Stop => row.turn > 0,
        Wanted::Delete | Wanted::Abandon => true,
    };
    if ends {
        return Some(Action::WindDown);
    }
    if row.turn == 0 {
        return None;
    }
    if row.image.is_empty() {
        return (row.source == ImageSource::Upload).then_some(Action::Carry);
    }
    match newest.filter(|newest| newest.turn > row.turn) {
        Some(later) if row.number != agent.serving => Some(Action::Supersede { by: later.number }),
        // Its replacement is on its way; it is removed when that is ready.
        Some(_) if row.state == State::CrashLoop => None,
        Some(_) | None => step,
    }
}

#[cfg(test)]
mod tests;
