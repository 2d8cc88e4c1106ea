//! Reads a workload's Job, pods and events, judges them, and adds the last log lines of a failed container.

use cofferdam_contract::FailureReason;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, LogParams};
use kube::core::Request;

use crate::judge::{self, Facts, architecture};
use crate::judge_words as say;
use crate::kubernetes::Kubernetes;
use crate::names::{self, CONTAINER, workload_name};
use crate::remove::{List, is_pod_name};
use crate::replicas;
use crate::wire::Wire;
use crate::{ClusterError, Seen, WorkloadFailure, WorkloadId};

/// Lines of a failed container's log that are shown.
const MAX_LAST_LINES: usize = 30;
const MAX_LAST_BYTES: usize = 16 * 1_024;
const MAX_EVENTS: u32 = 50;

impl Kubernetes {
    pub(crate) async fn see_workload(&self, id: &WorkloadId) -> Result<Seen, ClusterError> {
        let wire = self.wire().await?;
        let name = workload_name(id);
        let (job, mut pods) = tokio::try_join!(self.job(wire, &name), self.pods_of(wire, id))?;
        let ours = job.filter(|job| names::read(job.metadata.annotations.as_ref()).as_ref() == Some(id));
        let Some(job) = ours else { return Ok(Seen::Gone) };
        pods.retain(|pod| pod.metadata.name.as_deref().is_some_and(is_pod_name));
        let (mut events, now) = (Vec::new(), Timestamp::now());
        let unschedulable_after = self.options.unschedulable_after;
        let facts = Facts { job: &job, pods: &pods, events: &[], now, unschedulable_after };
        let about = replicas::in_question(&facts);
        if about.is_none_or(|pod| judge::wants_events(std::slice::from_ref(pod), now))
            && let Some(uid) = &about.map_or(&job.metadata, |pod| &pod.metadata).uid
        {
            events = self.events(wire, uid).await;
        }
        Ok(match replicas::judge_all(&Facts { events: &events, ..facts }) {
            (Seen::Failed(failure), Some(pod)) => Seen::Failed(self.with_lines(wire, pod, failure, now).await),
            (Seen::Crashed { failure, now: state }, Some(pod)) => {
                Seen::Crashed { failure: self.with_lines(wire, pod, failure, now).await, now: state }
            }
            (seen, _) => seen,
        })
    }

    /// An object's events. Empty if our credentials may not read them: the judgement is then less exact.
    async fn events(&self, wire: &Wire, uid: &str) -> Vec<Event> {
        let which = ListParams::default().fields(&format!("involvedObject.uid={uid}")).limit(MAX_EVENTS);
        let Ok(request) = wire.built(Request::new(self.path::<Event>()).list(&which)) else { return Vec::new() };
        wire.ask::<List<Event>>(request).await.map(|list| list.items).unwrap_or_default()
    }

    async fn with_lines(
        &self,
        wire: &Wire,
        pod: &Pod,
        mut failure: WorkloadFailure,
        now: Timestamp,
    ) -> WorkloadFailure {
        let Some(status) = judge::container(pod) else { return failure };
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let runs = status.state.as_ref().is_some_and(|state| state.running.is_some());
        let mut lines = Vec::new();
        // The log of a container that runs again is another one's. An old end is not asked for at every look.
        let asks_for: &[bool] = match (runs, failure.exit_code.is_some() || failure.restarts > 0) {
            (true, _) if judge::has_fresh_end(pod, now) => &[true],
            (false, true) if status.restart_count > 0 => &[false, true],
            (false, true) => &[false],
            _ => &[],
        };
        for previous in asks_for {
            if lines.is_empty() {
                lines = self.end_of_log(wire, name, *previous).await;
            }
        }
        if lines.is_empty() {
            // The node keeps the end of the log in the pod's status. If the container never ran, the status has other text.
            let ends = [&status.state, &status.last_state].into_iter().flatten();
            let ends = ends.filter_map(|state| state.terminated.as_ref());
            let mut ran = ends.filter(|end| matches!(end.reason.as_deref(), Some("Error" | "OOMKilled" | "Completed")));
            let kept = ran.find_map(|end| end.message.as_deref()).unwrap_or_default();
            lines = last_lines(kept.as_bytes());
        }
        if failure.reason == FailureReason::Exited && lines.iter().any(|line| line.contains("exec format error")) {
            failure.reason = FailureReason::CannotStart;
            failure.detail = say::wrong_processor(architecture(pod)).into();
        }
        failure.last_lines = lines;
        failure
    }

    async fn end_of_log(&self, wire: &Wire, pod: &str, previous: bool) -> Vec<String> {
        let which = LogParams {
            container: Some(CONTAINER.to_owned()),
            tail_lines: i64::try_from(MAX_LAST_LINES).ok(),
            previous,
            ..LogParams::default()
        };
        let Ok(request) = wire.built(Request::new(self.path::<Pod>()).logs(pod, &which)) else { return Vec::new() };
        wire.text(request).await.map(|bytes| last_lines(&bytes)).unwrap_or_default()
    }
}

fn last_lines(bytes: &[u8]) -> Vec<String> {
    let from = bytes.len().saturating_sub(MAX_LAST_BYTES);
    let text = String::from_utf8_lossy(bytes.get(from..).unwrap_or_default());
    let mut lines: Vec<String> = text.lines().rev().take(MAX_LAST_LINES).map(str::to_owned).collect();
    lines.reverse();
    lines
}
