//! Start, stop, restart, rollback. What runs is never touched here: each is written down, and a new version of the same
//! image takes the place of the one that runs once it is ready.

use cofferdam_contract::{AgentId, DeploymentState, FailureReason, Problem};

use super::ask::{again, before, begin, check_quota, enter, finish, no_deployment};
use super::{DeploymentInfo, Once, tell};
use crate::Error;
use crate::auth::Caller;
use crate::services::App;
use crate::store::{Because, DeploymentRow, Source, Wanted};

fn nothing(id: &AgentId) -> Error {
    let detail = format!("Agent {:?} has no image that it could run: deploy one first.", id.as_str());
    Problem::conflict(detail).into()
}

/// Starts an agent with what it ran last. Where it runs, or is on its way, this changes nothing.
///
/// # Errors
/// [`Problem::not_found`]; nothing to start.
pub async fn start(app: &App, caller: &Caller, id: &AgentId, once: &Once) -> Result<DeploymentInfo, Error> {
    run_again(app, caller, id, once, Because::Start).await
}

/// Starts an agent again: a new version of what runs takes its place once it is ready.
///
/// # Errors
/// [`Problem::not_found`]; nothing to start.
pub async fn restart(app: &App, caller: &Caller, id: &AgentId, once: &Once) -> Result<DeploymentInfo, Error> {
    run_again(app, caller, id, once, Because::Restart).await
}

async fn run_again(
    app: &App,
    caller: &Caller,
    id: &AgentId,
    once: &Once,
    because: Because,
) -> Result<DeploymentInfo, Error> {
    if let Some(info) = before(app, caller, id, once).await? {
        return Ok(info);
    }
    check_quota(app, caller).await?;
    let mut change = begin(app, caller, id).await?;
    let rows = change.deployments().await?;
    let runs = running(&rows, change.agent.serving);
    let row = match (because, runs) {
        (Because::Start, Some(row)) => row.clone(),
        _ => {
            let older = last_run(&rows, change.agent.serving).ok_or_else(|| nothing(id))?.clone();
            again(app, &mut change, &older, because).await?
        }
    };
    finish(app, change, once, row).await
}

/// The version that is on its way to serve, else the one that does.
fn running(rows: &[DeploymentRow], serving: u64) -> Option<&DeploymentRow> {
    let goes = |row: &&DeploymentRow| row.turn > 0 && !row.is_over() && row.state != DeploymentState::Stopping;
    let coming = rows.iter().filter(goes).filter(|row| row.number != serving).max_by_key(|row| row.turn);
    coming.or_else(|| rows.iter().filter(goes).find(|row| row.number == serving))
}

/// What is started where nothing else is said: what serves; else what was asked for last and did not fail by itself.
fn last_run(rows: &[DeploymentRow], serving: u64) -> Option<&DeploymentRow> {
    let outside = |row: &DeploymentRow| {
        matches!(row.reason, Some(FailureReason::NoCluster | FailureReason::Cluster | FailureReason::Internal))
    };
    let has_image = || rows.iter().filter(|row| !row.image.is_empty());
    let serves = has_image().find(|row| row.number == serving && serving > 0);
    let fine = |row: &&DeploymentRow| row.state != DeploymentState::Failed || outside(row);
    let fine = || has_image().filter(|row| row.turn > 0).filter(fine).max_by_key(|row| row.turn);
    serves.or_else(fine).or_else(|| has_image().max_by_key(|row| (row.turn, row.number)))
}

/// Stops an agent. Its image and its deployments are kept.
///
/// # Errors
/// [`Problem::not_found`].
pub async fn stop(app: &App, caller: &Caller, id: &AgentId) -> Result<Option<DeploymentInfo>, Error> {
    let mut change = begin(app, caller, id).await?;
    change.agent.wanted = Wanted::Stop;
    let mut shown = None;
    for mut row in change.deployments().await? {
        if row.turn > 0 && !row.is_over() && row.state != DeploymentState::Stopping {
            wind_down(&mut row, "It was asked to stop.");
            change.put(&mut row, true).await?;
            shown = Some(row);
        }
    }
    change.commit().await?;
    tell(app, &caller.organization, id);
    tracing::info!(organization = %caller.organization, agent = %id, "an agent is to stop");
    Ok(shown.as_ref().map(Into::into))
}

/// Takes a deployment out: what may be in the cluster has to be taken away first.
pub(super) fn wind_down(row: &mut DeploymentRow, why: &str) {
    enter(row, if row.placed { DeploymentState::Stopping } else { DeploymentState::Stopped }, why);
}

/// Goes back to a version that is kept: to this one, or to the one before.
///
/// # Errors
/// [`Problem::not_found`]; no version to go back to.
pub async fn rollback(
    app: &App,
    caller: &Caller,
    id: &AgentId,
    to: Option<u64>,
    once: &Once,
) -> Result<DeploymentInfo, Error> {
    if let Some(info) = before(app, caller, id, once).await? {
        return Ok(info);
    }
    check_quota(app, caller).await?;
    let mut change = begin(app, caller, id).await?;
    let rows = change.deployments().await?;
    let older = match to {
        Some(number) => {
            let row = rows.iter().find(|row| row.number == number).ok_or_else(|| no_deployment(id, number))?;
            if row.image.is_empty() {
                return Err(Problem::conflict(format!("Deployment {number} has no image: {}", row.detail)).into());
            }
            row
        }
        None => {
            let current = running(&rows, change.agent.serving);
            version_before(&rows, current).ok_or_else(|| {
                let detail = "There is no version that served before, to go back to; name one with `version`.";
                Error::from(Problem::conflict(detail))
            })?
        }
    };
    let older = older.clone();
    let row = again(app, &mut change, &older, Because::Rollback).await?;
    finish(app, change, once, row).await
}

/// The version to go back to from `current`: the newest that served and did not crash, older than what `current` is a
/// repetition of. So going back again goes back further, and ends.
pub(crate) fn version_before<'a>(
    rows: &'a [DeploymentRow],
    current: Option<&DeploymentRow>,
) -> Option<&'a DeploymentRow> {
    let until = current.map_or(u64::MAX, |row| origin(rows, row).map_or(row.turn, |row| row.turn));
    let good = |row: &&DeploymentRow| {
        row.up_at_ms > 0 && row.crashes == 0 && !row.image.is_empty() && row.turn > 0 && row.turn < until
    };
    let same = |row: &&DeploymentRow| {
        let Some(current) = current else { return false };
        origin(rows, row).map(|row| row.number) == origin(rows, current).map(|row| row.number)
    };
    rows.iter().filter(good).filter(|row| !same(row)).max_by_key(|row| row.turn)
}

/// What a deployment is a repetition of, in the end; itself where it is none.
fn origin<'a>(rows: &'a [DeploymentRow], row: &DeploymentRow) -> Option<&'a DeploymentRow> {
    let mut at = rows.iter().find(|other| other.number == row.number)?;
    // Numbers only go down.
    while let Source::Version { number, .. } = at.source {
        match rows.iter().find(|other| other.number == number && number < at.number) {
            Some(older) => at = older,
            None => break,
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests;
