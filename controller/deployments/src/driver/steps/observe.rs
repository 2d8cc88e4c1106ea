//! Observes a deployment in its cluster: what it shows, without secrets, and what was changed there by hand.

use cofferdam_cluster::{ClusterError, Mended, Seen, Words, WorkloadFailure, workload_name};
use cofferdam_environments::Environment;
use cofferdam_redact::Redactor;
use futures_util::FutureExt;
use tokio::time::Instant;

use super::write::Failed;
use super::{Step, sentence};
use crate::Error;
use crate::values::{redactor, shown_lines};

/// Stands for what a cluster says while it is not known which parts of it are secret.
const NOT_SHOWN: &str = "[not shown, because this version's secrets cannot be read]";
/// Events of a version after which restored objects are only logged.
const MAX_MENDED_EVENTS: u64 = 100;

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

    /// A failed request in words. A refusal repeats what the cluster says, so the version's secrets are taken out of it.
    pub(super) async fn refusal(&self, environment: &Environment, error: &ClusterError) -> String {
        match error {
            ClusterError::Refused(_) | ClusterError::Conflict(_) => {
                self.words(environment, &Words::ours("").saying("", &error.to_string())).await.trim_start().to_owned()
            }
            ClusterError::None(_) | ClusterError::Settings(_) | ClusterError::Unreachable(_) => error.to_string(),
        }
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
    /// Returns when that was looked for last.
    pub(super) async fn mend(&self, environment: &Environment) -> Result<Option<Instant>, Error> {
        let due = self.mended.is_none_or(|before| before.elapsed() >= self.timing().drift);
        if !due {
            return Ok(self.mended);
        }
        let workload = match self.deployments().workload(environment, &self.row).await {
            Ok(workload) => workload,
            Err(error) => {
                tracing::debug!(agent = %self.agent.id, error = %cofferdam_core::chain(&error), "drift cannot be looked for");
                return Ok(Some(Instant::now()));
            }
        };
        let mend = |cluster: cofferdam_cluster::AnyCluster| async move { cluster.mend(&workload).await }.boxed();
        match self.call(environment, mend).await {
            Ok(mended) => {
                for one in mended {
                    self.tell_mended(one).await?;
                }
            }
            Err(error) => {
                tracing::debug!(agent = %self.agent.id, %error, "drift cannot be looked for");
            }
        }
        Ok(Some(Instant::now()))
    }

    async fn tell_mended(&self, Mended { kind, was_missing }: Mended) -> Result<(), Error> {
        let how = if was_missing { "deleted" } else { "changed" };
        tracing::warn!(organization = %self.agent.organization, agent = %self.agent.id, version = self.row.number, kind,
            "an object of a version was {how} outside Cofferdam, and was restored");
        self.deployments().metrics.mended(kind);
        // Whoever changes it each time again must not use up the events of this version.
        if self.row.events > MAX_MENDED_EVENTS {
            return Ok(());
        }
        let Some((mut change, row)) = self.take().await? else { return Ok(()) };
        // The event alone: the version's own detail stays.
        let mut told = row.clone();
        told.detail = format!("The {kind} was {how} outside Cofferdam, and was restored.");
        change.put(&mut told, true).await?;
        told.detail = row.detail;
        change.put(&mut told, false).await?;
        self.done(change).await
    }
}
