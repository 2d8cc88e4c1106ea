//! Restores what was deleted or changed by hand of a workload that runs: its NetworkPolicy, ServiceAccount and Secret, and the
//! Job's labels and size. Never creates a Job, and never touches one that is not ours.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use kube::Resource;
use kube::api::DeleteParams;
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::answers::{self, Versioned};
use crate::kubernetes::Kubernetes;
use crate::names::{self, MANAGER, workload_name};
use crate::wire::Wire;
use crate::{ClusterError, Mended, Workload, judge_end, objects};

impl Kubernetes {
    pub(crate) async fn mend_workload(&self, workload: &Workload) -> Result<Vec<Mended>, ClusterError> {
        let wire = self.wire().await?;
        let name = workload_name(&workload.id);
        let Some(job) = self.job(wire, &name).await? else { return Ok(Vec::new()) };
        let ours = names::read(job.metadata.annotations.as_ref()).as_ref() == Some(&workload.id);
        if !ours || job.metadata.deletion_timestamp.is_some() || judge_end::is_over(&job) {
            return Ok(Vec::new());
        }
        let owner = objects::owned_by(&job);
        let policy = objects::network_policy(workload, &self.namespace, &self.options);
        let account = objects::service_account(workload, owner.clone());
        let (policy, account, secret, job) = tokio::try_join!(
            self.restore(wire, workload, "NetworkPolicy", &policy),
            self.restore(wire, workload, "ServiceAccount", &account),
            self.restore_secret(wire, workload, objects::secret(workload, owner)),
            self.restore_job(wire, workload, &job),
        )?;
        Ok([policy, account, secret, job].into_iter().flatten().collect())
    }

    /// Applies an object. An API server gives it a new version only if something of ours was missing or different.
    async fn restore<K>(
        &self,
        wire: &Wire,
        workload: &Workload,
        kind: &'static str,
        object: &K,
    ) -> Result<Option<Mended>, ClusterError>
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let (path, name) = (self.path::<K>(), workload_name(&workload.id));
        let before = wire.get::<Versioned>(&path, &name).await.map_err(|e| self.explained(wire, e, "get", kind))?;
        let after = wire.apply::<Versioned>(&path, &name, object).await;
        let after = after.map_err(|e| self.explained(wire, e, "apply", kind))?;
        Ok(match before {
            None => Some(Mended { kind, was_missing: true }),
            Some(before) if before.metadata.resource_version != after.metadata.resource_version => {
                Some(Mended { kind, was_missing: false })
            }
            Some(_) => None,
        })
    }

    /// The values of a Secret cannot be changed, and the organization's variables may have: what is there stays, unless
    /// somebody else made it.
    async fn restore_secret(
        &self,
        wire: &Wire,
        workload: &Workload,
        mut secret: Secret,
    ) -> Result<Option<Mended>, ClusterError> {
        const KIND: &str = "Secret";
        let (path, name) = (self.path::<Secret>(), workload_name(&workload.id));
        let before = wire.get_as_it_is::<answers::Secret>(&path, &name).await;
        let before = before.map_err(|e| self.explained(wire, e, "get", KIND))?;
        let Some(before) = before else { return self.restore(wire, workload, KIND, &secret).await };
        let applied = before.metadata.managed_fields.iter().any(|one| one.manager.as_deref() == Some(MANAGER));
        if before.immutable == Some(true) && applied {
            secret.data = Some(before.data.into_vec().into_iter().collect());
            return self.restore(wire, workload, KIND, &secret).await;
        }
        let deleted = wire.delete(&path, &name, &DeleteParams::default()).await;
        deleted.map_err(|e| self.explained(wire, e, "delete", KIND))?;
        let applied = wire.apply::<IgnoredAny>(&path, &name, &secret).await;
        applied.map_err(|e| self.explained(wire, e, "apply", KIND))?;
        Ok(Some(Mended { kind: KIND, was_missing: false }))
    }

    /// A Job's template cannot be changed, and an older release may have made it: only labels and size are looked at.
    async fn restore_job(
        &self,
        wire: &Wire,
        workload: &Workload,
        there: &answers::Job,
    ) -> Result<Option<Mended>, ClusterError> {
        let wanted = objects::job(workload, &self.options);
        let parallelism = wanted.spec.as_ref().and_then(|spec| spec.parallelism);
        let same = there.spec.as_ref().and_then(|spec| spec.parallelism) == parallelism;
        let labels = wanted.metadata.labels.unwrap_or_default();
        let before = there.metadata.labels().unwrap_or_default();
        let has = |(key, value): (&String, &String)| before.get(key) == Some(value);
        if same && labels.iter().all(has) {
            return Ok(None);
        }
        let patch = json!({"metadata": {"labels": labels}, "spec": {"parallelism": parallelism}});
        let merged = wire.merge(&self.path::<Job>(), &workload_name(&workload.id), &patch).await;
        merged.map_err(|e| self.explained(wire, e, "patch", "Job"))?;
        Ok(Some(Mended { kind: "Job", was_missing: false }))
    }
}
