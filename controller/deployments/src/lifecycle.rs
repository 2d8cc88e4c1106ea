//! Starts, stops, restarts and rolls back agents. Running workloads are never touched here: the request is written
//! down, and a new version of the same image takes the place of the one that serves once it is ready.

use cofferdam_contract::{AgentId, DeploymentState, Problem};
use cofferdam_core::Caller;
use cofferdam_store::{Because, DeploymentRow, ImageSource, Wanted};

use crate::request::{enter, no_deployment};
use crate::states::{is_from_outside, runs};
use crate::{DeploymentInfo, Deployments, Error, Once};

/// Versions that a refused rollback names.
const MAX_NAMED: usize = 10;

impl Deployments {
    /// Starts an agent with the version that ran last. Changes nothing if the agent runs or is on its way up.
    ///
    /// # Errors
    /// [`Problem::not_found`]; [`Problem::conflict`] if no version has an image.
    pub async fn start(&self, caller: &Caller, id: &AgentId, once: &Once) -> Result<DeploymentInfo, Error> {
        self.run_again(caller, id, once, Because::Start).await
    }

    /// Restarts an agent: a new version of the one that serves takes its place once it is ready.
    ///
    /// # Errors
    /// [`Problem::not_found`]; [`Problem::conflict`] if no version has an image.
    pub async fn restart(&self, caller: &Caller, id: &AgentId, once: &Once) -> Result<DeploymentInfo, Error> {
        self.run_again(caller, id, once, Because::Restart).await
    }

    async fn run_again(
        &self,
        caller: &Caller,
        id: &AgentId,
        once: &Once,
        because: Because,
    ) -> Result<DeploymentInfo, Error> {
        if let Some(info) = self.requested_before(caller, id, once).await? {
            return Ok(info);
        }
        let mut change = self.begin_deployment(caller, id).await?;
        let rows = change.deployments().await?;
        let row = match (because, running(&rows, change.agent.serving)) {
            (Because::Start, Some(row)) => row.clone(),
            _ => {
                let older = last_run(&rows, change.agent.serving).ok_or_else(|| no_image(id))?.clone();
                self.repeat(&mut change, &older, because).await?
            }
        };
        self.finish_change(change, once, row).await
    }

    /// Stops an agent. Its image and its deployments are kept. Returns the last deployment that was stopped.
    ///
    /// # Errors
    /// [`Problem::not_found`].
    pub async fn stop(&self, caller: &Caller, id: &AgentId) -> Result<Option<DeploymentInfo>, Error> {
        let mut change = self.begin_change(caller, id).await?;
        change.agent.wanted = Wanted::Stop;
        let mut shown = None;
        for mut row in change.deployments().await? {
            if runs(&row) {
                let state = if row.placed { DeploymentState::Stopping } else { DeploymentState::Stopped };
                enter(&mut row, state, "A stop was requested.");
                change.put(&mut row, true).await?;
                shown = Some(row);
            }
        }
        change.commit().await?;
        self.announce(&caller.organization, id);
        tracing::info!(organization = %caller.organization, agent = %id, "an agent is to stop");
        Ok(shown.as_ref().map(Into::into))
    }

    /// Rolls an agent back to version `to`, or to the version before the one that serves or, if none does, served last.
    ///
    /// # Errors
    /// [`Problem::not_found`]; [`Problem::conflict`] if there is no version to go back to.
    pub async fn rollback(
        &self,
        caller: &Caller,
        id: &AgentId,
        to: Option<u64>,
        once: &Once,
    ) -> Result<DeploymentInfo, Error> {
        if let Some(info) = self.requested_before(caller, id, once).await? {
            return Ok(info);
        }
        let mut change = self.begin_deployment(caller, id).await?;
        let rows = change.deployments().await?;
        let older = match to {
            Some(number) => {
                let row = rows.iter().find(|row| row.number == number).ok_or_else(|| no_deployment(id, number))?;
                if row.image.is_empty() {
                    return Err(Problem::conflict(format!("Deployment {number} has no image: {}", row.detail)).into());
                }
                row
            }
            None => back_to(&rows, change.agent.serving).map_err(Problem::conflict)?,
        };
        let row = self.repeat(&mut change, older, Because::Rollback).await?;
        self.finish_change(change, once, row).await
    }
}

fn no_image(id: &AgentId) -> Error {
    let detail = format!("Agent {:?} has no image to run: deploy one first.", id.as_str());
    Problem::conflict(detail).into()
}

/// The version that is on its way up, else the one that serves.
fn running(rows: &[DeploymentRow], serving: u64) -> Option<&DeploymentRow> {
    let running = || rows.iter().filter(|row| runs(row));
    let coming = running().filter(|row| row.number != serving).max_by_key(|row| row.turn);
    coming.or_else(|| running().find(|row| row.number == serving))
}

/// The version that `start` runs: the one that serves; else the newest that did not fail by its own fault; else the
/// newest with an image.
fn last_run(rows: &[DeploymentRow], serving: u64) -> Option<&DeploymentRow> {
    let has_image = || rows.iter().filter(|row| !row.image.is_empty());
    let serves = has_image().find(|row| row.number == serving && serving > 0);
    let fine = |row: &&DeploymentRow| row.state != DeploymentState::Failed || row.reason.is_some_and(is_from_outside);
    let fine = || has_image().filter(|row| row.turn > 0).filter(fine).max_by_key(|row| row.turn);
    serves.or_else(fine).or_else(|| has_image().max_by_key(|row| (row.turn, row.number)))
}

/// The version that a rollback without a number goes to: the one before what is on its way up, else before what serves,
/// else before what served last. A version that was stopped is left, too: `start` repeats it.
fn back_to(rows: &[DeploymentRow], serving: u64) -> Result<&DeploymentRow, String> {
    let served_last = || rows.iter().filter(|row| served(row)).max_by_key(|row| row.turn);
    let current = running(rows, serving).or_else(served_last);
    let older = version_before(rows, current).or_else(|| crashed_before(rows, current));
    older.ok_or_else(|| nothing_before(rows, current))
}

/// The version to go back to from `current`: the newest that served without a crash and is older than the version that
/// `current` repeats. Repeated rollbacks therefore go back further each time, and terminate.
pub(crate) fn version_before<'a>(
    rows: &'a [DeploymentRow],
    current: Option<&DeploymentRow>,
) -> Option<&'a DeploymentRow> {
    served_before(rows, current).into_iter().filter(|row| row.crashes == 0).max_by_key(|row| row.turn)
}

/// The same among the versions that crashed. Only a person who asks for a rollback gets one of them.
fn crashed_before<'a>(rows: &'a [DeploymentRow], current: Option<&DeploymentRow>) -> Option<&'a DeploymentRow> {
    served_before(rows, current).into_iter().max_by_key(|row| row.turn)
}

fn served_before<'a>(rows: &'a [DeploymentRow], current: Option<&DeploymentRow>) -> Vec<&'a DeploymentRow> {
    let until = current.map_or(u64::MAX, |row| origin(rows, row).map_or(row.turn, |row| row.turn));
    let same = |row: &DeploymentRow| {
        let Some(current) = current else { return false };
        origin(rows, row).map(|row| row.number) == origin(rows, current).map(|row| row.number)
    };
    rows.iter().filter(|row| served(row) && row.turn < until && !same(row)).collect()
}

/// It was up, and can be run again.
fn served(row: &DeploymentRow) -> bool {
    row.up_at_ms > 0 && row.turn > 0 && !row.image.is_empty()
}

/// The reason why there is no version to go back to by itself, and the versions that can be named.
fn nothing_before(rows: &[DeploymentRow], current: Option<&DeploymentRow>) -> String {
    let first = current.and_then(|row| origin(rows, row));
    let why = match (current, first) {
        (Some(current), Some(first)) if first.number != current.number => format!(
            "Version {} is version {} once more, and no version before version {} has served.",
            current.number, first.number, first.number
        ),
        (Some(current), _) => format!("No version before version {} has served.", current.number),
        (None, _) => "No version has served yet.".to_owned(),
    };
    let others =
        rows.iter().rev().filter(|row| served(row) && current.is_none_or(|current| current.number != row.number));
    let others: Vec<String> = others.take(MAX_NAMED).map(|row| row.number.to_string()).collect();
    let start = match current {
        Some(current) if !runs(current) => format!(" `start` runs version {} again.", current.number),
        _ => String::new(),
    };
    match others.as_slice() {
        [] => format!("{why}{start} `version` names one that has an image."),
        others => format!("{why}{start} Name the one to go to (`version`); these have served: {}.", others.join(", ")),
    }
}

/// The first version in the chain of repetitions that leads to `row`; `row` itself if it repeats none. An image that is run
/// with other settings is another version.
fn origin<'a>(rows: &'a [DeploymentRow], row: &DeploymentRow) -> Option<&'a DeploymentRow> {
    let mut at = rows.iter().find(|other| other.number == row.number)?;
    // A version only repeats a lower number, so the chain ends.
    while let ImageSource::Version { number, .. } = at.source
        && !at.spec.other_settings
    {
        match rows.iter().find(|other| other.number == number && number < at.number) {
            Some(older) => at = older,
            None => break,
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests;
