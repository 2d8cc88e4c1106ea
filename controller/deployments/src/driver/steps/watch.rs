//! Observes the version that serves. A version that does not serve well stays `Up` and says so, with the time since when:
//! only what the version itself did is a crash.

use cofferdam_cluster::{ClusterError, HeldBy, Seen};
use cofferdam_contract::{DeploymentState as State, FailureReason};
use cofferdam_core::now_ms;
use cofferdam_environments::Environment;
use cofferdam_store::Observed;
use tokio::time::Duration;

use super::crash::Restart;
use super::write::Failed;
use super::{Next, Step, sentence, serves_in};
use crate::Error;
use crate::driver::mending::Mending;
use crate::request::enter;
use crate::states::is_clusters_own;

impl Step {
    pub(super) async fn watch(&self) -> Result<Next, Error> {
        let watch = self.timing().watch;
        let environment = self.environment().await?;
        let seen = match self.glance(&environment).await {
            Ok(seen) => seen,
            Err(error) => return self.unreachable(&environment, &error).await,
        };
        match seen {
            Seen::Ready { for_s, pod, restarts } => {
                let mending = self.mend(&environment).await?;
                self.serves_well(&pod, for_s, restarts).await?;
                Ok(Next { mending, ..Next::after(watch) })
            }
            Seen::Starting { waits_for, held_by } => {
                let mending = self.mend(&environment).await?;
                let words = self.words(&environment, &waits_for).await;
                self.not_ready(&environment, &words, held_by, mending).await
            }
            Seen::Gone => {
                tracing::warn!(agent = %self.agent.id, version = self.row.number,
                    "the Job of a serving version was deleted outside Cofferdam, or its pod was taken away");
                let detail =
                    "The Job was deleted outside Cofferdam, or the cluster took its pod away; creating it again.";
                let Some((mut change, mut row)) = self.take().await? else { return Ok(Next::soon()) };
                enter(&mut row, State::Applying, detail);
                row.observed.not_ready_since_ms.get_or_insert_with(now_ms);
                change.put(&mut row, true).await?;
                self.done(change).await?;
                Ok(Next::now())
            }
            // Another version would fare no better, and this one needs no new Job.
            Seen::Failed(failure) if is_clusters_own(failure.reason) => {
                let mending = self.mend(&environment).await?;
                let words = self.words(&environment, &failure.detail).await;
                self.not_ready(&environment, &words, HeldBy::Cluster, mending).await
            }
            // What it needs to start may have been deleted: that is restored first.
            Seen::Failed(failure) if failure.reason == FailureReason::CannotStart && self.is_new_trouble() => {
                let mending = self.mend(&environment).await?;
                let words = self.words(&environment, &failure.detail).await;
                self.not_ready(&environment, &words, HeldBy::Itself, mending).await
            }
            Seen::Crashed { failure, .. } => {
                let failed = self.redacted(&environment, failure).await;
                self.crash(failed, Restart::InPlace).await
            }
            Seen::Failed(failure) => {
                let failed = self.redacted(&environment, failure).await;
                self.crash(failed, Restart::MadeAnew).await
            }
        }
    }

    /// It has not been unready by its own fault for longer than it takes to restore what was deleted.
    fn is_new_trouble(&self) -> bool {
        self.own_time(HeldBy::Itself) < self.timing().drift * 2
    }

    async fn serves_well(&self, pod: &str, for_s: u64, restarts: u32) -> Result<(), Error> {
        let mut observed = Observed {
            not_ready_since_ms: None,
            own_since_ms: None,
            unreachable_since_ms: None,
            ..self.row.observed.clone()
        };
        observed.count_restarts(pod, restarts);
        // Its crashes are forgotten once it has recovered, so that a rollback may go back to it.
        let forgiven = self.row.crashes > 0 && Duration::from_secs(for_s) >= self.timing().probation;
        if self.row.observed.not_ready_since_ms.is_some() || self.row.observed.unreachable_since_ms.is_some() {
            tracing::info!(organization = %self.agent.organization, agent = %self.agent.id, version = self.row.number,
                "a version serves again");
        }
        self.note(&serves_in(pod), observed, forgiven).await
    }

    async fn not_ready(
        &self,
        environment: &Environment,
        words: &str,
        held_by: HeldBy,
        mending: Option<Mending>,
    ) -> Result<Next, Error> {
        let timing = self.timing();
        let (now, start) = (now_ms(), self.deployments().start_time(&self.row));
        let since = self.row.observed.not_ready_since_ms.unwrap_or(now);
        if self.own_time(held_by) >= start && held_by == HeldBy::Itself {
            let detail = format!("Not ready for {} s: {}", start.as_secs(), sentence(words));
            return self.crash(Failed::new(FailureReason::NotReady, detail), Restart::MadeAnew).await;
        }
        if self.row.observed.not_ready_since_ms.is_none() {
            tracing::warn!(organization = %self.agent.organization, agent = %self.agent.id, version = self.row.number,
                environment = environment.name, why = words, "a serving version is not ready");
        }
        let observed = Observed {
            not_ready_since_ms: Some(since),
            // What the cluster did does not count against it.
            own_since_ms: (held_by == HeldBy::Itself).then(|| self.own_since().unwrap_or(now)),
            unreachable_since_ms: None,
            ..self.row.observed.clone()
        };
        self.note(&format!("not ready: {words}"), observed, false).await?;
        Ok(Next { mending, ..Next::after(timing.watch.min(timing.look * 4)) })
    }

    /// The cluster does not answer, or refuses. The version may still serve.
    async fn unreachable(&self, environment: &Environment, error: &ClusterError) -> Result<Next, Error> {
        let timing = self.timing();
        let error = self.refusal(environment, error).await;
        let Some(since) = self.missed_since else {
            // One lost answer is no news.
            return Ok(Next { missed_since: Some(now_ms()), ..Next::after(timing.retry.min(timing.watch)) });
        };
        let since = self.row.observed.unreachable_since_ms.unwrap_or(since);
        if self.row.observed.unreachable_since_ms.is_none() {
            tracing::warn!(organization = %self.agent.organization, agent = %self.agent.id, version = self.row.number, error,
                "a serving version cannot be observed");
        }
        let observed = Observed { own_since_ms: None, unreachable_since_ms: Some(since), ..self.row.observed.clone() };
        self.note(
            &format!("it served when it was last seen, and its state cannot be checked now: {error}"),
            observed,
            false,
        )
        .await?;
        Ok(Next { missed_since: Some(since), ..Next::after(timing.watch) })
    }
}
