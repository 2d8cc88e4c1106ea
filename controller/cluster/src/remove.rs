//! Deletes workloads, and lists workloads and pods. A NetworkPolicy is deleted after the last pod of its workload.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams};
use serde::de::IgnoredAny;
use tokio::time::{Instant, sleep};

use crate::answers::{self, Named};
use crate::held::Held;
use crate::kubernetes::Kubernetes;
use crate::names::{self, MANAGED_BY, MANAGER, workload_name};
use crate::wire::{Listed, Wire};
use crate::{ClusterError, PodName, Words, WorkloadId, judge};

/// Pods on one page. A workload has few, and those that its cluster has ended stay beside them.
const PODS_PAGE: u32 = 50;
const MAX_POD_PAGES: usize = 20;
/// Workloads on one page of a list.
const JOBS_PAGE: u32 = 250;
const MAX_JOB_PAGES: usize = 40;
/// The time that pods get beyond their grace period to be gone.
const BEYOND_GRACE: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(2);

impl Kubernetes {
    pub(crate) async fn remove_workload(&self, id: &WorkloadId) -> Result<(), ClusterError> {
        let wire = self.wire().await?;
        let name = workload_name(id);
        if let Some(job) = self.job(wire, &name).await? {
            if names::read(job.metadata.annotations.as_ref()).as_ref() != Some(id) {
                return Ok(());
            }
            let deleted = wire.delete(&self.path::<Job>(), &name, &DeleteParams::background()).await;
            deleted.map_err(|e| self.explained(wire, e, "delete", "Job"))?;
        }
        self.wait_for_pods(wire, id).await?;
        tokio::try_join!(
            self.delete::<Secret>(wire, &name, "Secret"),
            self.delete::<ServiceAccount>(wire, &name, "ServiceAccount"),
            self.delete::<NetworkPolicy>(wire, &name, "NetworkPolicy"),
        )
        .map(drop)
    }

    async fn delete<K>(&self, wire: &Wire, name: &str, kind: &str) -> Result<(), ClusterError>
    where
        K: kube::Resource<DynamicType = ()>,
    {
        match wire.delete(&self.path::<K>(), name, &DeleteParams::default()).await {
            // A cluster forbids before it looks: credentials that may only read have made nothing that could be deleted.
            Err(refused) if refused.has_code(403) && self.is_absent::<K>(wire, name).await => Ok(()),
            deleted => deleted.map_err(|e| self.explained(wire, e, "delete", kind)),
        }
    }

    /// Returns true if the cluster says that there is no such object.
    async fn is_absent<K>(&self, wire: &Wire, name: &str) -> bool
    where
        K: kube::Resource<DynamicType = ()>,
    {
        matches!(wire.get::<IgnoredAny>(&self.path::<K>(), name).await, Ok(None))
    }

    async fn wait_for_pods(&self, wire: &Wire, id: &WorkloadId) -> Result<(), ClusterError> {
        let until = Instant::now() + self.options.grace + BEYOND_GRACE;
        let mut pause = FIRST_PAUSE;
        loop {
            let pods = self.pods_of(wire, id).await?;
            let Some(pod) = pods.first() else { return Ok(()) };
            if Instant::now() >= until {
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("no node yet");
                let words = Words::ours("The pod ").theirs(pod.metadata.name.as_deref().unwrap_or("?"));
                let words = words.and(" is still ending (node: ").theirs(node);
                let todo = "). If that node is gone for good, delete the pod by force";
                return Err(ClusterError::conflict(words.and(todo)));
            }
            sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    pub(crate) async fn pods_of(&self, wire: &Wire, id: &WorkloadId) -> Result<Held<answers::Pod>, ClusterError> {
        let which = ListParams::default().labels(&names::selector(id)).limit(PODS_PAGE);
        let pods = wire.list(&self.path::<Pod>(), which, Listed::Objects, MAX_POD_PAGES).await;
        pods.map_err(|e| self.explained(wire, e, "list", "Pod"))
    }

    pub(crate) async fn list_workloads(&self) -> Result<Vec<WorkloadId>, ClusterError> {
        let wire = self.wire().await?;
        let which = ListParams::default().labels(&format!("{MANAGED_BY}={MANAGER}")).limit(JOBS_PAGE);
        let jobs = wire.list::<Named>(&self.path::<Job>(), which, Listed::Metadata, MAX_JOB_PAGES).await;
        let jobs = jobs.map_err(|e| self.explained(wire, e, "list", "Job"))?;
        let ours = jobs.iter().filter(|job| job.metadata.deletion_timestamp.is_none());
        let ids = ours.filter_map(|job| {
            let id = names::read(job.metadata.annotations.as_ref())?;
            (job.metadata.name.as_deref() == Some(&workload_name(&id))).then_some(id)
        });
        Ok(ids.collect())
    }

    pub(crate) async fn list_pods(&self, id: &WorkloadId) -> Result<Vec<PodName>, ClusterError> {
        let wire = self.wire().await?;
        let mut pods = self.pods_of(wire, id).await?;
        pods.sort_by(|a, b| a.metadata.creation_timestamp.cmp(&b.metadata.creation_timestamp));
        let mut all = Vec::new();
        for pod in pods.iter() {
            let Some(name) = pod.metadata.name.as_ref().filter(|name| is_pod_name(name)) else { continue };
            let restarts = judge::container(pod).map_or(0, answers::ContainerStatus::restarts);
            let before = restarts.checked_sub(1);
            let each = before.into_iter().chain([restarts]);
            all.extend(each.map(|restarts| PodName { workload: id.clone(), pod: name.clone(), restarts }));
        }
        Ok(all)
    }
}

/// A pod's name goes into the path of a request.
pub(crate) fn is_pod_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = name.bytes().next().is_some_and(plain) && name.bytes().next_back().is_some_and(plain);
    ends && name.len() <= 253 && name.bytes().all(|b| plain(b) || b == b'-' || b == b'.')
}
