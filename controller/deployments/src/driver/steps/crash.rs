//! Handles the end of a version that served. If it ended soon after it first came up, or crashed too often, the agent is
//! rolled back to the version before it; otherwise the same version is restarted: by its node, or, if its Job is over, by a
//! new Job after a longer wait each time.

use std::time::Duration;

use cofferdam_cluster::{HeldBy, Seen};
use cofferdam_contract::{DeploymentState as State, FailureReason};
use cofferdam_core::{backoff, millis, now_ms};
use cofferdam_store::{AgentChange, Because, DeploymentRow, ImageSource};

use super::write::Failed;
use super::{Next, Step, sentence};
use crate::Error;
use crate::lifecycle::version_before;
use crate::request::enter;

/// A version that crashes this often without a quiet time in between is not restarted.
const MAX_CRASHES: u64 = 5;
/// Automatic rollbacks after one version that may fail.
const MAX_COMEBACKS: usize = 2;
const MAX_WAIT: Duration = Duration::from_secs(300);

/// The party that restarts a version after its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    /// Its node, in the same pod, at once and then ever slower.
    InPlace,
    /// We, by a new Job: nothing is left to restart.
    MadeAnew,
}

impl Step {
    pub(super) async fn crash(&self, failed: Failed, restart: Restart) -> Result<Next, Error> {
        let Some((mut change, mut row)) = self.take().await? else { return Ok(Next::soon()) };
        // Counted from the first time: a version that has proved itself and is restarted is not new again.
        let early = now_ms().saturating_sub(row.up_at_ms) < millis(self.timing().probation);
        row.crashes += 1;
        enter(&mut row, State::CrashLoop, "");
        failed.remember(&mut row.observed);
        (row.observed.not_ready_since_ms, row.observed.own_since_ms) = (None, None);
        failed.note(&mut row);
        self.deployments().metrics.crashed(row.reason.unwrap_or(FailureReason::Internal));
        tracing::warn!(organization = %row.organization, agent = %row.agent, version = row.number,
            reason = ?row.reason, crashes = row.crashes, "a version that served has ended");
        let rows = change.deployments().await?;
        let replaced = rows.iter().any(|other| other.turn > row.turn && !other.is_over() && !other.image.is_empty());
        let too_often = row.crashes >= MAX_CRASHES;
        let goes_back = !replaced && failed_comebacks(&rows, &row) < MAX_COMEBACKS && (early || too_often);
        let older = version_before(&rows, rows.iter().find(|other| other.number == row.number));
        match older {
            Some(older) if goes_back => self.come_back(&mut change, row, older).await?,
            _ if too_often && !replaced => give_up(&mut change, row).await?,
            _ => self.try_again(&mut change, row, restart).await?,
        }
        self.done(change).await?;
        Ok(Next::now())
    }

    async fn come_back(
        &self,
        change: &mut AgentChange,
        mut row: DeploymentRow,
        older: &DeploymentRow,
    ) -> Result<(), Error> {
        change.put(&mut row, true).await?;
        let next = self.deployments().repeat(change, older, Because::Crash).await?;
        row.detail = format!("{} Rolling back to version {}, as version {}.", row.detail, older.number, next.number);
        change.put(&mut row, true).await?;
        Ok(())
    }

    async fn try_again(&self, change: &mut AgentChange, mut row: DeploymentRow, restart: Restart) -> Result<(), Error> {
        if restart == Restart::InPlace {
            row.detail = format!("{} Its node restarts it.", row.detail);
            return Ok(change.put(&mut row, true).await?);
        }
        row.observed.restarts = row.observed.restarts.saturating_add(1);
        let times = u32::try_from(row.crashes).unwrap_or(u32::MAX);
        let wait = backoff(self.timing().retry * 10, MAX_WAIT, times);
        row.retry_at_ms = now_ms().saturating_add(millis(wait));
        row.detail = format!("{} Restarting in {} s.", row.detail, wait.as_secs());
        change.put(&mut row, true).await?;
        Ok(())
    }

    /// Waits for a crashed version that its node restarts; creates it again where nothing restarts it.
    pub(super) async fn recover(&self) -> Result<Next, Error> {
        let again = Next::after(self.timing().look * 2);
        let environment = self.environment().await?;
        let min_ready = self.deployments().min_ready(&self.row);
        let is_new = |end: &str| !end.is_empty() && end != self.row.observed.end;
        match self.see(&environment).await {
            Ok(Seen::Ready { pod, for_s, restarts }) if Duration::from_secs(for_s) >= min_ready => {
                self.up(&pod, restarts).await
            }
            Ok(Seen::Ready { .. }) => Ok(again),
            // A new Job would fare no better.
            Ok(Seen::Starting { held_by, .. })
                if held_by == HeldBy::Cluster || self.own_time(held_by) < self.deployments().start_time(&self.row) =>
            {
                self.count(held_by).await?;
                Ok(again)
            }
            Ok(Seen::Crashed { failure, .. }) => {
                let failed = self.redacted(&environment, failure).await;
                self.crash(failed, Restart::InPlace).await
            }
            Ok(Seen::Failed(failure)) if is_new(&failure.end) => {
                let failed = self.redacted(&environment, failure).await;
                self.crash(failed, Restart::MadeAnew).await
            }
            Ok(Seen::Starting { .. } | Seen::Failed(_) | Seen::Gone) => {
                match self.remove_workload(&environment).await {
                    Ok(()) => self.to(State::Applying, "Restarting after it ended.").await,
                    Err(error) => self.later(sentence(&self.refusal(&environment, &error).await)).await,
                }
            }
            Err(error) => self.later(sentence(&self.refusal(&environment, &error).await)).await,
        }
    }
}

/// The number of automatic rollbacks after `row` that failed. One that was superseded, or stopped, says nothing about the
/// version that it brought back.
fn failed_comebacks(rows: &[DeploymentRow], row: &DeploymentRow) -> usize {
    let failed = |other: &&DeploymentRow| {
        matches!(other.source, ImageSource::Version { because: Because::Crash, .. })
            && other.turn > row.turn
            && other.state == State::Failed
            && other.reason != Some(FailureReason::Superseded)
    };
    rows.iter().filter(failed).count()
}

async fn give_up(change: &mut AgentChange, mut row: DeploymentRow) -> Result<(), Error> {
    let why = format!("{} It ended {MAX_CRASHES} times and will not be restarted.", row.detail);
    enter(&mut row, State::Failed, why);
    change.agent.serving = 0;
    change.put(&mut row, true).await?;
    Ok(())
}
