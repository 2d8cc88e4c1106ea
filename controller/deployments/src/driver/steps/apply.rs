//! Creates a deployment's Job and everything that it needs. The store records that the cluster may hold something of
//! the deployment before the cluster is called.

use cofferdam_cluster::{Access, ClusterError, Workload};
use cofferdam_contract::{DeploymentState as State, FailureReason, Resources};
use cofferdam_core::{millis, now_ms};
use cofferdam_environments::Environment;
use futures_util::FutureExt;

use super::write::Failed;
use super::{Next, Step, sentence, shown};
use crate::Error;

/// The cluster keeps an ended Job for this long, for those who want to look at it.
const TTL_S: u32 = 24 * 3_600;

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
        let workload = match self.workload(&environment).await {
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
            let Some((mut change, mut row)) = self.take().await? else { return Ok(Next::soon()) };
            row.placed = true;
            change.put(&mut row, false).await?;
            change.commit().await?;
        }
        let applied = self.call(&environment, |cluster| async move { cluster.apply(&workload).await }.boxed()).await;
        match applied {
            Ok(()) => self.to(State::Starting, "The Job was created.").await,
            Err(error) => self.cluster_failed(error).await,
        }
    }

    /// A failure if the deployment cannot run in the environment.
    fn cannot_run_in(&self, environment: &Environment) -> Option<Failed> {
        if let Access::None(why) = &environment.cluster {
            return Some(Failed::new(FailureReason::NoCluster, sentence(why)));
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
    pub(super) async fn cluster_failed(&self, error: ClusterError) -> Result<Next, Error> {
        let waited = now_ms().saturating_sub(self.row.since_ms);
        // An unreachable cluster does not end a version that serves.
        let serves = self.agent.serving == self.row.number;
        if error.is_retryable() && (serves || waited < millis(self.timing().patience)) {
            return self.later(sentence(&error.to_string())).await;
        }
        let reason = match &error {
            ClusterError::None(_) => FailureReason::NoCluster,
            ClusterError::Settings(_)
            | ClusterError::Unreachable(_)
            | ClusterError::Refused(_)
            | ClusterError::Conflict(_) => FailureReason::Cluster,
        };
        self.fail(Failed::new(reason, sentence(&error.to_string()))).await
    }

    async fn workload(&self, environment: &Environment) -> Result<Workload, Error> {
        let own = &self.row.spec.resources;
        let usual = &environment.resources;
        let or = |own: &Option<String>, usual: &Option<String>| own.clone().or_else(|| usual.clone());
        Ok(Workload {
            id: self.workload_id(),
            image: environment.pulled(&self.row.image),
            architecture: environment.architecture.clone(),
            run_as: self.row.run_as,
            env: self.deployments().values(environment, &self.row).await?,
            resources: Resources {
                cpu: or(&own.cpu, &usual.cpu),
                memory: or(&own.memory, &usual.memory),
                ephemeral_storage: or(&own.ephemeral_storage, &usual.ephemeral_storage),
            },
            image_pull_secrets: environment.image_pull_secrets.clone(),
            runtime_class: environment.runtime_class.clone(),
            ttl_after_finished_s: TTL_S,
        })
    }
}
