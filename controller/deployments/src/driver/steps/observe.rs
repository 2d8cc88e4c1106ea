//! Observes a deployment in its cluster: what it shows, without secrets, and what was changed there by hand.

use cofferdam_cluster::{ClusterError, Mended, Seen, Words, WorkloadFailure, workload_name};
use cofferdam_environments::Environment;
use cofferdam_redact::Redactor;
use cofferdam_store::MAX_EVENTS;
use futures_util::FutureExt;
use tokio::time::Instant;

use super::write::Failed;
use super::{Step, sentence};
use crate::Error;
use crate::driver::mending::Mending;
use crate::values::{redactor, shown_lines};

/// Stands for what a cluster says while it is not known which parts of it are secret.
const NOT_SHOWN: &str = "[not shown, because this version's secrets cannot be read]";

impl Step {
    /// Asks the cluster. A crash that was dealt with before is not reported again.
    pub(super) async fn see(&self, environment: &Environment) -> Result<Seen, ClusterError> {
        let id = self.workload_id();
        let seen = self.call(environment, |cluster| async move { cluster.see(&id).await }.boxed()).await;
        self.deployments().metrics.asked(&self.agent.organization, &environment.name, seen.is_ok());
        let seen = seen?;
        match &seen {
            Seen::Starting { .. } | Seen::Ready { .. } | Seen::Crashed { .. } | Seen::Failed(_) => {
                self.collect(environment).await;
            }
            Seen::Gone => {}
        }
        Ok(match seen {
            Seen::Crashed { failure, now } if failure.end == self.row.observed.end => *now,
            seen => seen,
        })
    }

    /// As [`Self::see`] for a version that serves well, which a survey of its environment may tell as well.
    pub(super) async fn glance(&self, environment: &Environment) -> Result<Seen, ClusterError> {
        let (watch, observed) = (self.timing().watch, &self.row.observed);
        let well = observed.not_ready_since_ms.is_none() && observed.unreachable_since_ms.is_none();
        // A survey from before it came up knows nothing of it, or of what was there before.
        if !well || self.missed_since.is_some() || self.in_state() < watch {
            return self.see(environment).await;
        }
        let (organization, id) = (&self.agent.organization, self.workload_id());
        let seen = match self.context.surveyed(organization, environment, &id, watch / 2).await {
            Some(Seen::Crashed { failure, now }) if failure.end == observed.end => *now,
            Some(seen @ Seen::Ready { .. }) => seen,
            // How a container ended is not in a survey.
            Some(Seen::Crashed { .. } | Seen::Starting { .. } | Seen::Failed(_) | Seen::Gone) | None => {
                return self.see(environment).await;
            }
        };
        self.deployments().metrics.asked(organization, &environment.name, true);
        self.collect(environment).await;
        Ok(seen)
    }

    /// The version's redactor; `None` if its secrets cannot be read.
    async fn redactor(&self, environment: &Environment) -> Option<Redactor> {
        let values = self.deployments().values(environment, &self.row).await.ok()?;
        redactor(&values, &self.row).ok()
    }

    /// Words for people, without secrets in what the cluster says. Names of our own objects stay whole.
    pub(super) async fn words(&self, environment: &Environment, words: &Words) -> String {
        if !words.has_foreign_part() {
            return words.shown(str::to_owned);
        }
        match self.redactor(environment).await {
            Some(redactor) => self.scrubbed(environment, &redactor, words),
            None => words.shown(|_| NOT_SHOWN.to_owned()),
        }
    }

    /// A failed request in words, without the version's secrets in what the cluster says.
    pub(super) async fn refusal(&self, environment: &Environment, error: &ClusterError) -> String {
        self.words(environment, &error.words()).await
    }

    fn scrubbed(&self, environment: &Environment, redactor: &Redactor, words: &Words) -> String {
        let (name, image) = (workload_name(&self.workload_id()), environment.pulled(&self.row.image));
        let public = [name.as_str(), environment.namespace.as_str(), image.as_str()];
        words.shown(|said| redactor.text_beside(said, &public).into_owned())
    }

    /// A failure that the cluster reports, with the secrets taken out of its lines and of what the cluster says.
    pub(super) async fn redacted(&self, environment: &Environment, failure: WorkloadFailure) -> Failed {
        let (detail, last_lines) = match self.redactor(environment).await {
            Some(redactor) => {
                (self.scrubbed(environment, &redactor, &failure.detail), shown_lines(&redactor, &failure.last_lines))
            }
            // Nothing foreign may be shown unless the secrets are known.
            None => (failure.detail.shown(|_| NOT_SHOWN.to_owned()), Vec::new()),
        };
        Failed {
            reason: Some(failure.reason),
            detail: sentence(&detail),
            exit_code: failure.exit_code,
            last_lines,
            end: failure.end,
            restarts: failure.restarts,
        }
    }

    /// Restores what was deleted or changed by hand, if it has not been looked for in a while, and tells it as an event.
    /// Returns what is remembered of it; `None` if it was not looked for.
    pub(super) async fn mend(&self, environment: &Environment) -> Result<Option<Mending>, Error> {
        let interval = self.timing().drift;
        if !self.mending.is_due(interval, Instant::now()) {
            return Ok(None);
        }
        let mut mending = self.mending.clone();
        let mended = match self.restore(environment).await {
            Ok(mended) => mended,
            Err(why) => {
                tracing::debug!(agent = %self.agent.id, why, "drift cannot be looked for");
                Vec::new()
            }
        };
        for Mended { kind, was_missing } in &mended {
            let how = if *was_missing { "deleted" } else { "changed" };
            tracing::warn!(organization = %self.agent.organization, agent = %self.agent.id, version = self.row.number, kind,
                "an object of a version was {how} outside Cofferdam, and was restored");
            self.deployments().metrics.mended(kind);
        }
        let now = Instant::now();
        mending.looked(now);
        let told = mending.note(&mended, interval, self.row.events > MAX_EVENTS / 2, now);
        self.tell(&told).await?;
        Ok(Some(mending))
    }

    async fn restore(&self, environment: &Environment) -> Result<Vec<Mended>, String> {
        let workload = self.deployments().workload(environment, &self.row).await;
        let workload = workload.map_err(|error| cofferdam_core::chain(&error))?;
        let mend = |cluster: cofferdam_cluster::AnyCluster| async move { cluster.mend(&workload).await }.boxed();
        self.call(environment, mend).await.map_err(|error| error.to_string())
    }

    /// Records events that leave the version's own detail as it is.
    async fn tell(&self, events: &[String]) -> Result<(), Error> {
        if events.is_empty() {
            return Ok(());
        }
        let Some((mut change, mut row)) = self.take().await? else { return Ok(()) };
        let detail = row.detail.clone();
        for event in events {
            row.detail.clone_from(event);
            change.put(&mut row, true).await?;
        }
        row.detail = detail;
        change.put(&mut row, false).await?;
        self.done(change).await
    }
}
