//! Restores what was deleted or changed by hand of a workload that runs: its NetworkPolicy, ServiceAccount and Secret, and the
//! Job's labels and size. Never creates a Job, and never touches one that is not ours.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::DeleteParams;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

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
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        let (path, name) = (self.path::<K>(), workload_name(&workload.id));
        let before: Option<K> =
            wire.get(&path, &name).await.map_err(|e| self.refused(wire, e, "get", kind, workload))?;
        let after =
            wire.apply(&path, &name, object).await.map_err(|e| self.refused(wire, e, "apply", kind, workload))?;
        Ok(match before {
            None => Some(Mended { kind, was_missing: true }),
            Some(before) if version(before.meta()) != version(after.meta()) => {
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
        let before: Option<Secret> =
            wire.get(&path, &name).await.map_err(|e| self.refused(wire, e, "get", KIND, workload))?;
        let Some(before) = before else { return self.restore(wire, workload, KIND, &secret).await };
        let applied = |fields: &[_]| fields.iter().any(|one: &Managed| one.manager.as_deref() == Some(MANAGER));
        if before.immutable == Some(true) && before.metadata.managed_fields.as_deref().is_some_and(applied) {
            secret.data = before.data;
            return self.restore(wire, workload, KIND, &secret).await;
        }
        let deleted = wire.delete(&path, &name, &DeleteParams::default()).await;
        deleted.map_err(|e| self.refused(wire, e, "delete", KIND, workload))?;
        let applied = wire.apply(&path, &name, &secret).await;
        applied.map_err(|e| self.refused(wire, e, "apply", KIND, workload))?;
        Ok(Some(Mended { kind: KIND, was_missing: false }))
    }

    /// A Job's template cannot be changed, and an older release may have made it: only labels and size are looked at.
    async fn restore_job(&self, wire: &Wire, workload: &Workload, there: &Job) -> Result<Option<Mended>, ClusterError> {
        let wanted = objects::job(workload, &self.options);
        let parallelism = wanted.spec.as_ref().and_then(|spec| spec.parallelism);
        let same = there.spec.as_ref().and_then(|spec| spec.parallelism) == parallelism;
        let labels = wanted.metadata.labels.unwrap_or_default();
        let has = |(key, value): (&String, &String)| {
            there.metadata.labels.as_ref().and_then(|labels| labels.get(key)) == Some(value)
        };
        if same && labels.iter().all(has) {
            return Ok(None);
        }
        let patch = json!({"metadata": {"labels": labels}, "spec": {"parallelism": parallelism}});
        let merged = wire.merge::<Job>(&self.path::<Job>(), &workload_name(&workload.id), &patch).await;
        merged.map_err(|e| self.refused(wire, e, "patch", "Job", workload))?;
        Ok(Some(Mended { kind: "Job", was_missing: false }))
    }
}

type Managed = k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

fn version(meta: &ObjectMeta) -> Option<&str> {
    meta.resource_version.as_deref()
}
