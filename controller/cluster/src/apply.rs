//! Writes a workload's objects by server-side apply. The Job comes last, so that its pods find their Secret and are never
//! without their NetworkPolicy.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::DeleteParams;
use serde::de::IgnoredAny;
use tokio::time::sleep;

use crate::answers;
use crate::kubernetes::Kubernetes;
use crate::names::{self, workload_name};
use crate::objects;
use crate::wire::{RequestError, Wire};
use crate::words::Asked;
use crate::{ClusterError, Workload, judge_end};

/// Looks at a Job that was deleted until it has to be gone.
const MAX_GONE_LOOKS: u32 = 20;
const GONE_PAUSE: Duration = Duration::from_millis(100);

impl Kubernetes {
    pub(crate) async fn apply_workload(&self, workload: &Workload) -> Result<(), ClusterError> {
        objects::check(workload)?;
        let wire = self.wire().await?;
        self.apply_all(wire, workload).await
    }

    async fn apply_all(&self, wire: &Wire, workload: &Workload) -> Result<(), ClusterError> {
        let name = workload_name(&workload.id);
        let mut there = self.job(wire, &name).await?;
        if let Some(job) = &there {
            if names::read(job.metadata.annotations.as_ref()).as_ref() != Some(&workload.id) {
                return Err(ClusterError::refused(format!(
                    "A Job {name} in namespace {} exists and is not this agent's",
                    self.namespace
                )));
            }
            if job.metadata.deletion_timestamp.is_some() {
                return Err(ClusterError::conflict(format!("The Job {name} is still being deleted")));
            }
            if judge_end::is_over(job) {
                self.delete_job(wire, &name).await?;
                there = None;
            }
        }
        let owner = there.as_ref().and_then(objects::owned_by);
        let policy = async {
            let policy = objects::network_policy(workload, &self.namespace, &self.options);
            let applied = wire.apply::<IgnoredAny>(&self.path::<NetworkPolicy>(), &name, &policy).await;
            applied.map(drop).map_err(|e| self.explained(wire, e, "apply", "NetworkPolicy"))
        };
        tokio::try_join!(policy, self.apply_beside(wire, workload, owner.as_ref(), there.is_some()))?;
        let job = wire.apply(&self.path::<Job>(), &name, &objects::job(workload, &self.options)).await;
        let job = job.map_err(|e| self.explained(wire, e, "apply", "Job"))?;
        match (owner, objects::owned_by(&job)) {
            (None, Some(owner)) => self.apply_beside(wire, workload, Some(&owner), true).await,
            _ => Ok(()),
        }
    }

    /// Deletes a Job that is over, which no pod runs for, and waits until it is gone.
    async fn delete_job(&self, wire: &Wire, name: &str) -> Result<(), ClusterError> {
        let deleted = wire.delete(&self.path::<Job>(), name, &DeleteParams::background()).await;
        deleted.map_err(|e| self.explained(wire, e, "delete", "Job"))?;
        for _ in 0..MAX_GONE_LOOKS {
            if self.job(wire, name).await?.is_none() {
                return Ok(());
            }
            sleep(GONE_PAUSE).await;
        }
        Err(ClusterError::conflict(format!("The Job {name} is still being deleted")))
    }

    /// Writes the objects that the cluster deletes with the Job.
    async fn apply_beside(
        &self,
        wire: &Wire,
        workload: &Workload,
        owner: Option<&OwnerReference>,
        in_use: bool,
    ) -> Result<(), ClusterError> {
        let name = workload_name(&workload.id);
        let account = async {
            let account = objects::service_account(workload, owner.cloned());
            let applied = wire.apply::<IgnoredAny>(&self.path::<ServiceAccount>(), &name, &account).await;
            applied.map(drop).map_err(|e| self.explained(wire, e, "apply", "ServiceAccount"))
        };
        let secret = async {
            let secret = objects::secret(workload, owner.cloned());
            let path = self.path::<Secret>();
            let mut applied = wire.apply::<IgnoredAny>(&path, &name, &secret).await;
            if applied.as_ref().is_err_and(|failure| failure.has_code(422)) && !in_use {
                // Left over from a Job that is gone, with other values; a Secret of ours is immutable.
                let deleted = wire.delete(&path, &name, &DeleteParams::default()).await;
                deleted.map_err(|e| self.explained(wire, e, "delete", "Secret"))?;
                applied = wire.apply(&path, &name, &secret).await;
            }
            applied.map(drop).map_err(|e| self.explained(wire, e, "apply", "Secret"))
        };
        tokio::try_join!(account, secret).map(drop)
    }

    pub(crate) async fn job(&self, wire: &Wire, name: &str) -> Result<Option<answers::Job>, ClusterError> {
        wire.get(&self.path::<Job>(), name).await.map_err(|e| self.explained(wire, e, "get", "Job"))
    }

    /// A failed request as this crate's error.
    pub(crate) fn explained(&self, wire: &Wire, failure: RequestError, verb: &str, kind: &str) -> ClusterError {
        wire.explain(failure, &Asked { verb, kind, namespace: &self.namespace })
    }
}
