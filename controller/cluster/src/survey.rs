//! Surveys a namespace: reads all of our Jobs and pods at once and judges those workloads of which these say everything. So
//! many versions that serve well are observed by two lists, and not by two requests for each.

use std::collections::{HashMap, HashSet};
use std::slice::from_ref;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;

use crate::answers;
use crate::judge::{self, Facts};
use crate::kubernetes::Kubernetes;
use crate::names::{self, MANAGED_BY, MANAGER, workload_name};
use crate::remove::is_pod_name;
use crate::replicas;
use crate::wire::Listed;
use crate::{ClusterError, Seen, Words, WorkloadFailure, WorkloadId};

/// Objects on one page, and pages of a list: 2,500 Jobs and as many pods. Those beyond are looked at one by one.
const PAGE: u32 = 250;
const MAX_PAGES: usize = 10;

impl Kubernetes {
    pub(crate) async fn survey_workloads(&self) -> Result<Vec<(WorkloadId, Seen)>, ClusterError> {
        let wire = self.wire().await?;
        let which = || ListParams::default().labels(&format!("{MANAGED_BY}={MANAGER}")).limit(PAGE);
        let (jobs, pods) = (self.path::<Job>(), self.path::<Pod>());
        // The Jobs first: a pod of a Job that was made meanwhile is passed over.
        let jobs = wire.list_of(&jobs, which(), Listed::Objects, MAX_PAGES, is_ours).await;
        let jobs = jobs.map_err(|e| self.explained(wire, e, "list", "Job"))?;
        let names: HashSet<String> = jobs.iter().filter_map(|job| job.metadata.name.clone()).collect();
        let of_ours = |pod: &answers::Pod| {
            let name = pod.metadata.labels.as_ref().and_then(|labels| labels.workload.as_ref());
            name.is_some_and(|name| names.contains(name)) && pod.metadata.name.as_deref().is_some_and(is_pod_name)
        };
        let pods = wire.list_of(&pods, which(), Listed::Objects, MAX_PAGES, of_ours).await;
        let mut pods = pods.map_err(|e| self.explained(wire, e, "list", "Pod"))?;
        let mut by_workload: HashMap<String, Vec<answers::Pod>> = HashMap::new();
        for mut pod in pods.drain(..) {
            if let Some(name) = pod.metadata.labels.as_mut().and_then(|labels| labels.workload.take()) {
                by_workload.entry(name).or_default().push(pod);
            }
        }
        let (now, unschedulable_after) = (Timestamp::now(), self.options.unschedulable_after);
        let judged = jobs.iter().filter_map(|job| {
            let id = names::read(job.metadata.annotations.as_ref())?;
            let pods = by_workload.get(&workload_name(&id))?;
            let facts = Facts { job, pods, events: &[], now, unschedulable_after };
            Some((id, settled(&facts)?))
        });
        Ok(judged.collect())
    }
}

/// Returns true for a Job that we made: its annotations say whose it is, and its name is made of them.
fn is_ours(job: &answers::Job) -> bool {
    let id = names::read(job.metadata.annotations.as_ref());
    id.is_some_and(|id| job.metadata.name.as_deref() == Some(&workload_name(&id)))
}

/// The judgement, if events and logs would add nothing to it.
fn settled(facts: &Facts<'_>) -> Option<Seen> {
    let about = replicas::in_question(facts)?;
    if judge::wants_events(from_ref(about), facts.now) {
        return None;
    }
    match replicas::judge_all(facts).0 {
        seen @ Seen::Ready { .. } => Some(seen),
        // It ended once and has long been ready again. The rest of what is known of its end would take memory.
        Seen::Crashed { failure, now } if matches!(*now, Seen::Ready { .. }) => {
            Some(Seen::Crashed { failure: WorkloadFailure { detail: Words::default(), ..failure }, now })
        }
        Seen::Crashed { .. } | Seen::Starting { .. } | Seen::Failed(_) | Seen::Gone => None,
    }
}
