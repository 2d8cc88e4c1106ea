//! Observes a version on its way up. A new version replaces the old one in one transaction, after it has been ready for a
//! few seconds; the old one is removed afterwards.

use cofferdam_cluster::{HeldBy, Seen, Words};
use cofferdam_contract::{DeploymentState as State, FailureReason};
use cofferdam_core::{millis, now_ms};
use cofferdam_environments::Environment;
use tokio::time::Duration;

use super::crash::Restart;
use super::write::Failed;
use super::{Next, Step, serves_in};
use crate::Error;
use crate::request::enter;
use crate::states::is_clusters_own;

/// A version that takes longer to come up is observed less often.
const SLOW_START: Duration = Duration::from_secs(30);

impl Step {
    pub(super) async fn look(&self) -> Result<Next, Error> {
        let timing = *self.timing();
        let (start, min_ready) = (self.deployments().start_time(&self.row), self.deployments().min_ready(&self.row));
        let environment = self.environment().await?;
        let waited = self.in_state();
        let again = if waited > SLOW_START { timing.look * 4 } else { timing.look };
        match self.see(&environment).await {
            Ok(Seen::Ready { for_s, pod, restarts }) if Duration::from_secs(for_s) >= min_ready => {
                self.up(&pod, restarts).await
            }
            Ok(Seen::Ready { .. }) => {
                if self.row.spec.health.min_ready_s.is_some() {
                    self.say(&format!("ready; it serves once it has stayed ready for {} s", min_ready.as_secs()))
                        .await?;
                }
                Ok(Next::after(again))
            }
            // It served, and the cluster took its pod away: no other version would do better.
            Ok(Seen::Starting { waits_for, held_by: HeldBy::Cluster }) if self.serves() => {
                self.wait_for_cluster(&environment, &waits_for, again).await
            }
            Ok(Seen::Failed(failure)) if self.serves() && is_clusters_own(failure.reason) => {
                self.wait_for_cluster(&environment, &failure.detail, again).await
            }
            Ok(Seen::Starting { waits_for, held_by }) if self.has_had(start, held_by) => {
                let words = self.words(&environment, &waits_for).await;
                let detail = format!(
                    "Not ready within {} s: {}. If it only needs longer, raise its start time (`--start-time`, \
                     `health.start_s`, or COFFERDAM_AGENT_START_S for all).",
                    start.as_secs(),
                    words.trim_end_matches('.')
                );
                self.ended(Failed::new(FailureReason::NotReady, detail), Restart::MadeAnew).await
            }
            Ok(Seen::Starting { waits_for, held_by }) => {
                self.count(held_by).await?;
                let words = self.words(&environment, &waits_for).await;
                self.say(&words).await?;
                let mending = if waited > SLOW_START { self.mend(&environment).await? } else { None };
                Ok(Next { mending, ..Next::after(again) })
            }
            Ok(Seen::Gone) => {
                let Some((mut change, mut row)) = self.take().await? else { return Ok(Next::soon()) };
                enter(&mut row, State::Applying, "The Job disappeared before it was ready; creating it again.");
                // It may be deleted again each time: wait before the next attempt.
                row.retry_at_ms = now_ms().saturating_add(millis(timing.retry));
                change.put(&mut row, true).await?;
                self.done(change).await?;
                Ok(Next::now())
            }
            Ok(Seen::Crashed { failure, .. }) => {
                let failed = self.redacted(&environment, failure).await;
                self.ended(failed, Restart::InPlace).await
            }
            Ok(Seen::Failed(failure)) => {
                let failed = self.redacted(&environment, failure).await;
                self.ended(failed, Restart::MadeAnew).await
            }
            // A cluster that does not answer does not shorten the time that a version has to come up.
            Err(error) if error.is_retryable() && waited < start => {
                self.count(HeldBy::Cluster).await?;
                let why = self.refusal(&environment, &error).await;
                self.say(&why).await.map(|()| Next::after(timing.retry.max(again)))
            }
            Err(error) => {
                self.count(HeldBy::Cluster).await?;
                self.cluster_failed(&environment, error).await
            }
        }
    }

    /// It has had its time to come up. The cluster gets as much before, so that a version that never served ends.
    fn has_had(&self, start: Duration, held_by: HeldBy) -> bool {
        match held_by {
            HeldBy::Itself => self.own_time(held_by) > start,
            HeldBy::Cluster => self.in_state() > start,
        }
    }

    async fn wait_for_cluster(&self, environment: &Environment, words: &Words, again: Duration) -> Result<Next, Error> {
        self.count(HeldBy::Cluster).await?;
        let words = self.words(environment, words).await;
        self.say(&words).await?;
        let mending = self.mend(environment).await?;
        Ok(Next { mending, ..Next::after(again) })
    }

    /// The version did not come up. If it served before, it has crashed.
    async fn ended(&self, failed: Failed, restart: Restart) -> Result<Next, Error> {
        if self.serves() { self.crash(failed, restart).await } else { self.fail(failed).await }
    }

    /// Marks this version as serving.
    pub(super) async fn up(&self, pod: &str, restarts: u32) -> Result<Next, Error> {
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
        row.observed.count_restarts(pod, restarts);
        (row.observed.not_ready_since_ms, row.observed.unreachable_since_ms) = (None, None);
        row.observed.own_since_ms = None;
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
}
