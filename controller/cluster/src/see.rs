//! Reads a workload's Job, pods and events, judges them, and adds the last log lines of a failed container.

use cofferdam_contract::FailureReason;
use k8s_openapi::api::core::v1;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, LogParams};
use kube::core::Request;

use crate::answers::{Event, Pod};
use crate::judge::{self, Facts, architecture};
use crate::judge_words as say;
use crate::kubernetes::Kubernetes;
use crate::names::{self, CONTAINER, workload_name};
use crate::remove::is_pod_name;
use crate::replicas;
use crate::wire::{Listed, Wire};
use crate::{ClusterError, Seen, WorkloadFailure, WorkloadId};

/// Lines of a failed container's log that are shown.
const MAX_LAST_LINES: usize = 30;
const MAX_LAST_BYTES: usize = 16 * 1_024;
/// The bytes of a log that a node keeps in the pod's status.
const MAX_KEPT_BYTES: usize = 2_048;
/// Stands for the end of a line, which may be the end of a secret that nobody would find in it.
const CUT_LINE: &str = "[the end of a long line is not shown]";
/// Events on one page. A server lists the oldest first.
const EVENTS_PAGE: u32 = 50;
const MAX_EVENT_PAGES: usize = 4;

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
            && let Some(uid) = about.map_or(&job.metadata.uid, |pod| &pod.metadata.uid)
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
        let which = ListParams::default().fields(&format!("involvedObject.uid={uid}")).limit(EVENTS_PAGE);
        let events = wire.list(&self.path::<v1::Event>(), which, Listed::Objects, MAX_EVENT_PAGES).await;
        events.map(|mut events| std::mem::take(&mut *events)).unwrap_or_default()
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
            lines = last_lines(kept.as_bytes(), kept.len() >= MAX_KEPT_BYTES);
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
        let request = Request::new(self.path::<v1::Pod>()).logs(pod, &which);
        let end = wire.tail(request, MAX_LAST_BYTES).await.unwrap_or_default();
        last_lines(&end, end.len() >= MAX_LAST_BYTES)
    }
}

/// The last lines of an end of a log. If the end was `cut` out of a longer one, its first line may lack its beginning.
fn last_lines(end: &[u8], cut: bool) -> Vec<String> {
    let text = String::from_utf8_lossy(end);
    let mut lines: Vec<&str> = text.lines().collect();
    if let Some(first) = lines.first_mut().filter(|_| cut) {
        *first = CUT_LINE;
    }
    lines.iter().skip(lines.len().saturating_sub(MAX_LAST_LINES)).map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_its_beginning_is_not_shown() {
        assert_eq!(last_lines(b"one\ntwo\n", false), ["one", "two"]);
        assert_eq!(last_lines(b"cret\ntwo\nthree", true), [CUT_LINE, "two", "three"]);
        assert_eq!(last_lines(b"cret", true), [CUT_LINE]);
        assert!(last_lines(b"", true).is_empty());
        let many = "line\n".repeat(MAX_LAST_LINES + 1);
        assert_eq!(last_lines(many.as_bytes(), true), vec!["line"; MAX_LAST_LINES]);
    }
}
