//! Writes the results of steps.

use cofferdam_cluster::HeldBy;
use cofferdam_contract::{DeploymentState as State, FailureReason};
use cofferdam_core::{backoff, millis, now_ms};
use cofferdam_store::{AgentChange, Because, DeploymentRow, ImageSource, LastCrash, Observed};

use super::{Next, Step, sentence};
use crate::Error;
use crate::request::enter;

/// Characters of a crash's description that are kept beside the deployment's detail.
const MAX_CRASH_DETAIL: usize = 1_000;

/// A failure, as it is written into the row of a deployment that did not come up or no longer serves.
#[derive(Debug, Clone, Default)]
pub(super) struct Failed {
    pub reason: Option<FailureReason>,
    pub detail: String,
    pub exit_code: Option<i32>,
    pub last_lines: Vec<String>,
    /// Identifies the container's end; empty if none ended.
    pub end: String,
    /// The restarts of its pod.
    pub restarts: u32,
}

impl Failed {
    pub(super) fn new(reason: FailureReason, detail: impl Into<String>) -> Self {
        Self { reason: Some(reason), detail: detail.into(), ..Self::default() }
    }

    /// Remembers the container's end as the last crash of the deployment.
    pub(super) fn remember(&self, observed: &mut Observed) {
        if let Some((pod, _)) = self.end.split_once('/') {
            observed.count_restarts(pod, self.restarts);
        }
        observed.end.clone_from(&self.end);
        observed.last_crash = Some(LastCrash {
            at_ms: now_ms(),
            reason: self.reason.unwrap_or(FailureReason::Internal),
            detail: self.detail.chars().take(MAX_CRASH_DETAIL).collect(),
            exit_code: self.exit_code,
        });
    }

    pub(super) fn note(self, row: &mut DeploymentRow) {
        row.reason = self.reason;
        row.exit_code = self.exit_code;
        row.last_lines = self.last_lines;
        row.detail = self.detail;
    }
}

impl Step {
    /// Opens a change of the agent and its deployment. Returns `None` if another driver has the agent, or the
    /// deployment has changed since the step began: the step's result is discarded then, and the next plan decides.
    pub(super) async fn take(&self) -> Result<Option<(AgentChange, DeploymentRow)>, Error> {
        let (organization, id) = (&self.agent.organization, &self.agent.id);
        let change = self.context.store().change_agent(organization, id, Some(&self.context.lease.owner)).await?;
        let Some(mut change) = change else { return Ok(None) };
        let row = change.deployment(self.row.number).await?;
        let same = |row: &DeploymentRow| {
            row.state == self.row.state && row.since_ms == self.row.since_ms && row.turn == self.row.turn
        };
        match row.filter(same) {
            Some(row) => Ok(Some((change, row))),
            None => {
                change.abandon().await?;
                Ok(None)
            }
        }
    }

    /// Commits a change and tells the listeners.
    pub(super) async fn done(&self, change: AgentChange) -> Result<(), Error> {
        change.commit().await?;
        self.deployments().announce_to_listeners(&self.agent.organization, &self.agent.id);
        Ok(())
    }

    /// Moves the deployment to another state.
    pub(super) async fn to(&self, state: State, detail: impl Into<String>) -> Result<Next, Error> {
        let Some((mut change, mut row)) = self.take().await? else { return Ok(Next::soon()) };
        enter(&mut row, state, detail);
        change.put(&mut row, true).await?;
        self.done(change).await?;
        Ok(Next::now())
    }

    /// Updates the deployment's detail, if the text is new.
    pub(super) async fn say(&self, detail: &str) -> Result<(), Error> {
        let detail = sentence(detail);
        if self.row.detail == detail {
            return Ok(());
        }
        let Some((mut change, mut row)) = self.take().await? else { return Ok(()) };
        row.detail = detail;
        change.put(&mut row, true).await?;
        self.done(change).await
    }

    /// Writes what was observed, if it is news; a new detail is an event. `forgiven` forgets its crashes.
    pub(super) async fn note(&self, detail: &str, observed: Observed, forgiven: bool) -> Result<(), Error> {
        let detail = sentence(detail);
        let told = self.row.detail != detail;
        if !told && !forgiven && self.row.observed == observed {
            return Ok(());
        }
        let Some((mut change, mut row)) = self.take().await? else { return Ok(()) };
        if forgiven {
            row.crashes = 0;
        }
        (row.detail, row.observed) = (detail, observed);
        change.put(&mut row, told).await?;
        self.done(change).await
    }

    /// Starts the version's own clock when its cluster lets go of it, and stops it when the cluster holds it up.
    pub(super) async fn count(&self, held_by: HeldBy) -> Result<(), Error> {
        let since = match held_by {
            HeldBy::Itself => Some(self.own_since().unwrap_or_else(now_ms)),
            HeldBy::Cluster => None,
        };
        if self.row.observed.own_since_ms == since {
            return Ok(());
        }
        let Some((mut change, mut row)) = self.take().await? else { return Ok(()) };
        row.observed.own_since_ms = since;
        change.put(&mut row, false).await?;
        change.commit().await?;
        Ok(())
    }

    /// Schedules the step again: counts the attempt, and updates the deployment's detail.
    pub(super) async fn later(&self, detail: String) -> Result<Next, Error> {
        let timing = self.timing();
        let Some((mut change, mut row)) = self.take().await? else { return Ok(Next::soon()) };
        row.attempts += 1;
        let times = u32::try_from(row.attempts).unwrap_or(u32::MAX);
        let wait = backoff(timing.retry, timing.retry_most, times);
        row.retry_at_ms = now_ms().saturating_add(millis(wait));
        let news = row.detail != detail;
        row.detail = detail;
        change.put(&mut row, news).await?;
        self.done(change).await?;
        Ok(Next::after(wait))
    }

    /// Marks the deployment as failed. If it served, it no longer does; another serving version is not affected.
    pub(super) async fn fail(&self, failed: Failed) -> Result<Next, Error> {
        let Some((mut change, mut row)) = self.take().await? else { return Ok(Next::soon()) };
        tracing::info!(organization = %row.organization, agent = %row.agent, version = row.number,
            reason = ?failed.reason, "a deployment failed");
        enter(&mut row, State::Failed, "");
        if !failed.end.is_empty() {
            failed.remember(&mut row.observed);
        }
        failed.note(&mut row);
        if change.agent.serving == row.number {
            change.agent.serving = 0;
        }
        change.put(&mut row, true).await?;
        self.done(change).await?;
        self.deployments().metrics.failed(row.reason.unwrap_or(FailureReason::Internal));
        Ok(Next::now())
    }

    /// Gives the deployment up: version `by` was asked to run after it.
    pub(super) async fn supersede(&self, by: u64) -> Result<Next, Error> {
        let by = self.context.store().deployment(&self.agent.organization, &self.agent.id, by).await?;
        // It was deleted meanwhile: the next plan decides.
        let Some(by) = by else { return Ok(Next::soon()) };
        self.fail(Failed::new(FailureReason::Superseded, superseded(self.row.number, &by))).await
    }

    /// Ends the deployment.
    pub(super) async fn wind_down(&self) -> Result<Next, Error> {
        let state = if self.row.placed { State::Stopping } else { State::Stopped };
        self.to(state, "A stop was requested.").await
    }
}

/// The words for a version that another one has taken the place of. The order is the one in which they were asked to run:
/// a version with a lower number began its upload earlier, and nobody asked for an automatic rollback.
fn superseded(number: u64, by: &DeploymentRow) -> String {
    let what = match by.source {
        ImageSource::Version { number, because: Because::Crash } => {
            return format!(
                "Superseded by version {}, the automatic rollback to version {number} after a crash.",
                by.number
            );
        }
        ImageSource::Version { number, because: Because::Rollback } => format!("a rollback to version {number}"),
        ImageSource::Version { number, because: Because::Restart } => format!("a restart of version {number}"),
        ImageSource::Version { number, because: Because::Start } => format!("version {number} started again"),
        ImageSource::Upload | ImageSource::Image { .. } if by.number < number => {
            return format!(
                "Superseded by version {}: it has the lower number because its upload began earlier, and it was asked to \
                 run later.",
                by.number
            );
        }
        ImageSource::Upload | ImageSource::Image { .. } => {
            return format!("Superseded by version {}, which was asked to run later.", by.number);
        }
    };
    format!("Superseded by version {}, {what}, which was asked for later.", by.number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::row;

    #[test]
    fn what_superseded_a_version_is_told_as_it_was() {
        let of = |number, because| ImageSource::Version { number, because };
        for (by, source, says) in [
            (7, ImageSource::Upload, "Superseded by version 7, which was asked to run later."),
            (
                3,
                ImageSource::Upload,
                "Superseded by version 3: it has the lower number because its upload began earlier",
            ),
            (
                7,
                of(2, Because::Rollback),
                "Superseded by version 7, a rollback to version 2, which was asked for later.",
            ),
            (7, of(2, Because::Restart), "version 7, a restart of version 2, which"),
            (7, of(2, Because::Start), "version 7, version 2 started again, which"),
            (7, of(2, Because::Crash), "version 7, the automatic rollback to version 2 after a crash."),
        ] {
            let by = DeploymentRow { source, ..row(by) };
            let said = superseded(5, &by);
            assert!(said.contains(says), "{said}");
            assert_eq!(
                said.contains("later"),
                !matches!(by.source, ImageSource::Version { because: Because::Crash, .. })
            );
        }
    }
}
