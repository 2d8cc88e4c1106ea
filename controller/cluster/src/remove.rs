//! Deletes workloads, and lists workloads and pods. A NetworkPolicy is deleted after the last pod of its workload.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};
use kube::api::{DeleteParams, ListParams};
use kube::core::Request;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use crate::kubernetes::Kubernetes;
use crate::names::{self, MANAGED_BY, MANAGER, workload_name};
use crate::wire::{RequestError, Wire};
use crate::{ClusterError, PodName, WorkloadId, judge};

/// Pods that are read of one workload, which should have one.
const MAX_PODS: u32 = 50;
/// Workloads on one page of a list.
const PAGE: u32 = 250;
const MAX_PAGES: usize = 40;
/// The time that pods get beyond their grace period to be gone.
const BEYOND_GRACE: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// The parts of an API server's list that we use.
#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
pub(crate) struct List<T> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default)]
    pub items: Vec<T>,
}

/// The metadata of an object.
#[derive(Deserialize)]
struct Named {
    metadata: ObjectMeta,
}

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
            Err(RequestError::Api(status)) if status.code == 403 && self.is_absent::<K>(wire, name).await => Ok(()),
            deleted => deleted.map_err(|e| self.explained(wire, e, "delete", kind)),
        }
    }

    /// Returns true if the cluster says that there is no such object.
    async fn is_absent<K>(&self, wire: &Wire, name: &str) -> bool
    where
        K: kube::Resource<DynamicType = ()>,
    {
        matches!(wire.get::<serde_json::Value>(&self.path::<K>(), name).await, Ok(None))
    }

    async fn wait_for_pods(&self, wire: &Wire, id: &WorkloadId) -> Result<(), ClusterError> {
        let until = Instant::now() + self.options.grace + BEYOND_GRACE;
        let mut pause = FIRST_PAUSE;
        loop {
            let pods = self.pods_of(wire, id).await?;
            let Some(pod) = pods.first() else { return Ok(()) };
            if Instant::now() >= until {
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("no node yet");
                return Err(ClusterError::Conflict(format!(
                    "The pod {} is still ending (node: {node}). If that node is gone for good, delete the pod by force",
                    pod.metadata.name.as_deref().unwrap_or("?")
                )));
            }
            sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    pub(crate) async fn pods_of(&self, wire: &Wire, id: &WorkloadId) -> Result<Vec<Pod>, ClusterError> {
        let which = ListParams::default().labels(&names::selector(id)).limit(MAX_PODS);
        let asked = wire.built(Request::new(self.path::<Pod>()).list(&which));
        let pods = match asked {
            Ok(request) => wire.ask::<List<Pod>>(request).await,
            Err(failure) => Err(failure),
        };
        pods.map(|list| list.items).map_err(|e| self.explained(wire, e, "list", "Pod"))
    }

    pub(crate) async fn list_workloads(&self) -> Result<Vec<WorkloadId>, ClusterError> {
        let wire = self.wire().await?;
        let mut found = Vec::new();
        let mut which = ListParams::default().labels(&format!("{MANAGED_BY}={MANAGER}")).limit(PAGE);
        for _ in 0..MAX_PAGES {
            let page = async {
                let request = wire.built(Request::new(self.path::<Job>()).list_metadata(&which))?;
                wire.ask::<List<Named>>(request).await
            };
            let page = page.await.map_err(|e| self.explained(wire, e, "list", "Job"))?;
            let ours = page.items.iter().filter(|job| job.metadata.deletion_timestamp.is_none());
            found.extend(ours.filter_map(|job| {
                let id = names::read(job.metadata.annotations.as_ref())?;
                (job.metadata.name.as_deref() == Some(&workload_name(&id))).then_some(id)
            }));
            match page.metadata.continue_ {
                Some(token) if !token.is_empty() => which.continue_token = Some(token),
                _ => break,
            }
        }
        Ok(found)
    }

    pub(crate) async fn list_pods(&self, id: &WorkloadId) -> Result<Vec<PodName>, ClusterError> {
        let wire = self.wire().await?;
        let mut pods = self.pods_of(wire, id).await?;
        pods.sort_by(|a, b| a.metadata.creation_timestamp.cmp(&b.metadata.creation_timestamp));
        let mut all = Vec::new();
        for pod in &pods {
            let Some(name) = pod.metadata.name.as_ref().filter(|name| is_pod_name(name)) else { continue };
            let restarts = judge::container(pod).map_or(0, |status| status.restart_count);
            let restarts = u32::try_from(restarts).unwrap_or(0);
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
