//! Creates a deployment's Job and everything that it needs. The store records that the cluster may hold something of
//! the deployment before the cluster is called.

use cofferdam_cluster::{Access, ClusterError};
use cofferdam_contract::{DeploymentState as State, FailureReason};
use cofferdam_core::{millis, now_ms};
use cofferdam_environments::Environment;
use futures_util::FutureExt;

use super::write::Failed;
use super::{Next, Step, sentence, shown};
use crate::Error;

impl Step {
    pub(super) async fn apply(&self) -> Result<Next, Error> {
        let environment = match self.environment().await {
            Ok(environment) => environment,
            Err(error) if error.is_final() => {
                return self.fail(Failed::new(FailureReason::Cluster, shown(&error))).await;
            }
            Err(error) => return Err(error),
        };
        if let Some(failed) = self.cannot_run_in(&environment) {
            return self.fail(failed).await;
        }
        let workload = match self.deployments().workload(&environment, &self.row).await {
            Ok(workload) => workload,
            // A secret is missing, or the variables are too large.
            Err(Error::Refused(problem)) => {
                return self.fail(Failed::new(FailureReason::CannotStart, problem.detail)).await;
            }
            Err(error) if error.sealed().is_some() => {
                return self.fail(Failed::new(FailureReason::Internal, shown(&error))).await;
            }
            Err(error) => return Err(error),
        };
        if !self.row.placed {
            // Asked before anything is made: where a cluster refuses us, nothing has to be taken away later.
            let id = self.workload_id();
            let seen = self.call(&environment, |cluster| async move { cluster.see(&id).await }.boxed()).await;
            if let Err(error) = seen {
                return self.cluster_failed(&environment, error).await;
            }
            let Some((mut change, mut row)) = self.take().await? else { return Ok(Next::soon()) };
            row.placed = true;
            change.put(&mut row, false).await?;
            change.commit().await?;
        }
        let applied = self.call(&environment, |cluster| async move { cluster.apply(&workload).await }.boxed()).await;
        match applied {
            Ok(()) => self.to(State::Starting, "The Job was created.").await,
            Err(error) => self.cluster_failed(&environment, error).await,
        }
    }

    /// A failure if the deployment cannot run in the environment.
    fn cannot_run_in(&self, environment: &Environment) -> Option<Failed> {
        if let Access::None(why) = &environment.cluster {
            return Some(Failed::new(FailureReason::NoCluster, sentence(why)));
        }
        // It was allowed when it was asked for; a rollback may be older than the environment's lists.
        if let Err(why) = environment.pods.admit(&self.row.spec.pod) {
            return Some(Failed::new(FailureReason::CannotStart, sentence(&why)));
        }
        let (own, wanted) = (&self.row.architecture, &environment.architecture);
        if own.is_empty() || own == wanted {
            return None;
        }
        let detail = format!(
            "The image is for {own}, and the nodes of environment {:?} are {wanted}: build it with \
             --platform=linux/{wanted}, or change the environment's architecture.",
            environment.name
        );
        Some(Failed::new(FailureReason::BadImage, detail))
    }

    /// Handles a failed call to the cluster while the deployment was starting: tries again, or gives up.
    pub(super) async fn cluster_failed(&self, environment: &Environment, error: ClusterError) -> Result<Next, Error> {
        let why = sentence(&self.refusal(environment, &error).await);
        let waited = now_ms().saturating_sub(self.row.since_ms);
        // A cluster that is unreachable, or refuses, does not end a version that served.
        let waits = self.serves() && !matches!(error, ClusterError::None(_));
        if waits || (error.is_retryable() && waited < millis(self.timing().patience)) {
            return self.later(why).await;
        }
        let reason = match &error {
            ClusterError::None(_) => FailureReason::NoCluster,
            ClusterError::Settings(_)
            | ClusterError::Unreachable(_)
            | ClusterError::Refused(_)
            | ClusterError::Conflict(_) => FailureReason::Cluster,
        };
        self.fail(Failed::new(reason, why)).await
    }
}
