//! A version that served has ended. Soon after it came up, or for the last time of several, the version before comes
//! back by itself; else the same one is made again, later each time.

use std::time::Duration;

use cofferdam_contract::DeploymentState as State;

use super::write::Failed;
use super::{Act, Next};
use crate::Error;
use crate::agents::ask::{again, enter};
use crate::agents::lifecycle::version_before;
use crate::clock::now_ms;
use crate::store::{Because, DeploymentRow, Source};

/// After so many crashes without a quiet time between them it is not made again.
const MOST: u64 = 5;
/// So often a version before it comes back in its place.
const TRIES: usize = 2;
const WAIT_MOST: Duration = Duration::from_secs(300);

pub async fn crash(act: &Act, failed: Failed) -> Result<Next, Error> {
    let timing = act.app.config.agents.timing;
    let Some((mut change, mut row)) = act.take().await? else { return Ok(Next::soon()) };
    // A version that was being made again had been up before.
    let up_for = if row.state == State::Up { now_ms().saturating_sub(row.since_ms) } else { 0 };
    let early = up_for < super::super::millis(timing.probation);
    row.crashes += 1;
    enter(&mut row, State::CrashLoop, "");
    failed.note(&mut row);
    tracing::warn!(organization = %row.organization, agent = %row.agent, version = row.number, reason = ?row.reason,
        crashes = row.crashes, "a version that served has ended");
    let rows = change.deployments().await?;
    let comes = rows.iter().any(|other| other.turn > row.turn && !other.is_over() && !other.image.is_empty());
    // Those that came back before and failed themselves.
    let back = |other: &&DeploymentRow| {
        matches!(other.source, Source::Version { because: Because::Crash, .. }) && other.turn > row.turn
    };
    let tried = rows.iter().filter(back).count();
    let older = version_before(&rows, rows.iter().find(|other| other.number == row.number)).cloned();
    let goes_back = !comes && tried < TRIES && (early || row.crashes >= MOST);
    match older {
        Some(older) if goes_back => {
            change.put(&mut row, true).await?;
            let next = again(&act.app, &mut change, &older, Because::Crash).await?;
            row.detail = format!("{} Version {} comes back, as version {}.", row.detail, older.number, next.number);
            change.put(&mut row, true).await?;
        }
        _ if row.crashes >= MOST && !comes => {
            let why = format!("{} It ended {MOST} times and is not made again.", row.detail);
            enter(&mut row, State::Failed, why);
            change.agent.serving = 0;
            change.put(&mut row, true).await?;
        }
        _ => {
            let times = u32::try_from(row.crashes).unwrap_or(u32::MAX);
            let wait = super::super::keeper::backoff(timing.retry * 10, WAIT_MOST, times);
            row.retry_at_ms = now_ms().saturating_add(super::super::millis(wait));
            row.detail = format!("{} It is made again in {} s.", row.detail, wait.as_secs());
            change.put(&mut row, true).await?;
        }
    }
    act.done(change).await?;
    Ok(Next::now())
}

/// Takes away what is left of a version that crashed, and makes it again.
pub async fn recover(act: &Act) -> Result<Next, Error> {
    let environment = act.environment().await?;
    match act.take_away(&environment).await {
        Ok(()) => act.to(State::Applying, "It is made again after it ended.").await,
        Err(error) => act.later(super::apply::sentence(&error.to_string())).await,
    }
}
