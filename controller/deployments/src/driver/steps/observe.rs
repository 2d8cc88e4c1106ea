//! Observes a version on its way up, and the one that serves. A new version replaces the old one in one transaction,
//! after it has been ready for a few seconds; the old one is removed afterwards.

use cofferdam_cluster::{ClusterError, Seen, WorkloadFailure};
use cofferdam_contract::{DeploymentState as State, FailureReason};
use cofferdam_core::{millis, now_ms};
use cofferdam_environments::Environment;
use futures_util::FutureExt;
use tokio::time::{Duration, Instant};

use super::write::Failed;
use super::{Next, Step};
use crate::Error;
use crate::request::enter;
use crate::values::{redactor, shown_lines};

/// A version that takes longer to come up is observed less often.
const SLOW_START: Duration = Duration::from_secs(30);

impl Step {
    async fn see(&self, environment: &Environment) -> Result<Seen, ClusterError> {
        let id = self.workload_id();
        let seen = self.call(environment, |cluster| async move { cluster.see(&id).await }.boxed()).await?;
        match &seen {
            Seen::Starting { .. } | Seen::Ready { .. } | Seen::Failed(_) => self.collect(environment).await,
            Seen::Gone => {}
        }
        Ok(seen)
    }

    /// A failure that the cluster reports, with the secrets taken out of its lines and of what it says.
    async fn redacted(&self, environment: &Environment, failure: WorkloadFailure) -> Failed {
        let (reason, exit_code) = (Some(failure.reason), failure.exit_code);
        let values = self.deployments().values(environment, &self.row).await.unwrap_or_default();
        match redactor(&values, &self.row) {
            Ok(redactor) if !values.is_empty() => {
                let detail = redactor.text(&failure.detail).into_owned();
                let last_lines = shown_lines(&redactor, &failure.last_lines);
                Failed { reason, detail, exit_code, last_lines }
            }
            // Nothing foreign may be shown unless the secrets are known.
            _ => {
                let detail =
                    "The cluster gives a reason, which is not shown because this version's secrets cannot be read.";
                Failed { reason, detail: detail.to_owned(), exit_code, last_lines: Vec::new() }
            }
        }
    }

    /// Observes a version on its way up.
    pub(super) async fn look(&self) -> Result<Next, Error> {
        let timing = *self.timing();
        let environment = self.environment().await?;
        let waited = Duration::from_millis(u64::try_from(now_ms() - self.row.since_ms).unwrap_or(0));
        let again = if waited > SLOW_START { timing.look * 4 } else { timing.look };
        match self.see(&environment).await {
            Ok(Seen::Ready { for_s, pod, .. }) if Duration::from_secs(for_s) >= timing.steady => self.up(&pod).await,
            Ok(Seen::Ready { .. }) => Ok(Next::after(again)),
            Ok(Seen::Starting { waits_for }) if waited > timing.start => {
                let detail = format!(
                    "Not ready within {} s: {waits_for}. Raise COFFERDAM_AGENT_START_S to give it longer.",
                    timing.start.as_secs()
                );
                self.ended(Failed::new(FailureReason::NotReady, detail)).await
            }
            Ok(Seen::Starting { waits_for }) => self.say(&waits_for).await.map(|()| Next::after(again)),
            Ok(Seen::Gone) => {
                let Some((mut change, mut row)) = self.take().await? else { return Ok(Next::soon()) };
                enter(&mut row, State::Applying, "The Job disappeared before it was ready; creating it again.");
                // It may be deleted again each time: wait before the next attempt.
                row.retry_at_ms = now_ms().saturating_add(millis(timing.retry));
                change.put(&mut row, true).await?;
                self.done(change).await?;
                Ok(Next::now())
            }
            Ok(Seen::Failed(failure)) => {
                let failed = self.redacted(&environment, failure).await;
                self.ended(failed).await
            }
            // A cluster that does not answer does not shorten the time that a version has to come up.
            Err(error) if error.is_retryable() && waited < timing.start => {
                self.say(&error.to_string()).await.map(|()| Next::after(timing.retry.max(again)))
            }
            Err(error) => self.cluster_failed(error).await,
        }
    }

    /// The version did not come up. If it served before, it has crashed.
    async fn ended(&self, failed: Failed) -> Result<Next, Error> {
        if self.agent.serving == self.row.number { self.crash(failed).await } else { self.fail(failed).await }
    }

    /// Marks this version as serving.
    async fn up(&self, pod: &str) -> Result<Next, Error> {
        let Some((mut change, mut row)) = self.take().await? else { return Ok(Next::soon()) };
        let before = change.agent.serving;
        if before != row.number
            && before != 0
            && let Some(mut old) = change.deployment(before).await?
            && !old.is_over()
        {
            if old.turn > row.turn {
                // A version that was requested later came up first: the next plan gives this one up.
                change.abandon().await?;
                return Ok(Next::soon());
            }
            // A crash is remembered as a failure.
            let (state, why) = match old.state {
                State::CrashLoop => (State::Failed, format!("{} Replaced by version {}.", old.detail, row.number)),
                State::Uploading
                | State::Pushing
                | State::Applying
                | State::Starting
                | State::Up
                | State::Failed
                | State::Stopping
                | State::Stopped => (State::Stopping, format!("Replaced by version {}.", row.number)),
            };
            enter(&mut old, state, why);
            change.put(&mut old, true).await?;
        }
        enter(&mut row, State::Up, serves_in(pod));
        (row.reason, row.exit_code) = (None, None);
        row.last_lines.clear();
        let first = row.up_at_ms == 0;
        if first {
            row.up_at_ms = row.since_ms;
        }
        change.agent.serving = row.number;
        change.put(&mut row, true).await?;
        self.done(change).await?;
        if first {
            self.deployments().metrics.up(row.up_at_ms / 1_000 - row.created_at);
        }
        tracing::info!(organization = %row.organization, agent = %row.agent, version = row.number, "a version serves");
        Ok(Next::now())
    }

    /// Observes the version that serves.
    pub(super) async fn watch(&self) -> Result<Next, Error> {
        let timing = *self.timing();
        let environment = self.environment().await?;
        match self.see(&environment).await {
            Ok(Seen::Ready { for_s, pod, .. }) => {
                self.say(&serves_in(&pod)).await?;
                if self.row.crashes > 0 && Duration::from_secs(for_s) >= timing.probation {
                    self.forgive().await?;
                }
                Ok(Next::after(timing.watch))
            }
            Ok(Seen::Starting { waits_for }) => {
                let since = self.unready.unwrap_or_else(Instant::now);
                if since.elapsed() < timing.start {
                    return Ok(Next { after: timing.watch.min(timing.look * 4), unready: Some(since) });
                }
                let detail = format!("Not ready for {} s: {waits_for}.", timing.start.as_secs());
                self.crash(Failed::new(FailureReason::NotReady, detail)).await
            }
            Ok(Seen::Gone) => {
                tracing::warn!(agent = %self.agent.id, version = self.row.number,
                    "the Job of a serving version was deleted outside Cofferdam");
                self.to(State::Applying, "The Job was deleted outside Cofferdam; creating it again.").await
            }
            Ok(Seen::Failed(failure)) => {
                let failed = self.redacted(&environment, failure).await;
                self.crash(failed).await
            }
            Err(error) => {
                tracing::debug!(agent = %self.agent.id, %error, "a serving version cannot be observed");
                if !error.is_retryable() {
                    // It may still serve; an operator has to fix the access first.
                    self.say(&format!("its state cannot be checked: {error}")).await?;
                }
                Ok(Next { after: timing.watch, unready: self.unready })
            }
        }
    }

    /// Forgets the crashes of a version that has recovered, so that a rollback may go back to it.
    async fn forgive(&self) -> Result<(), Error> {
        let Some((mut change, mut row)) = self.take().await? else { return Ok(()) };
        row.crashes = 0;
        change.put(&mut row, false).await?;
        self.done(change).await
    }
}

fn serves_in(pod: &str) -> String {
    format!("Serving, in pod {pod}.")
}
