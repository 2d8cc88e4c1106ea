//! Judges a workload by its Job, pods and events. Pure: everything that was read goes in, with the current time.

use std::time::Duration;

use cofferdam_contract::FailureReason;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Event, Pod, PodCondition};
use k8s_openapi::jiff::Timestamp;

use crate::names::CONTAINER;
use crate::words::clean;
use crate::{Seen, WorkloadFailure};
use crate::{judge_words as say, pull};

/// Once the cluster has ended this many pods of one Job, the workload counts as failed.
const MAX_ENDED_PODS: usize = 3;
/// The time that an autoscaler gets to add a node for a pod.
const NEW_NODE: Duration = Duration::from_secs(600);
/// The time that a node gets to create a pod's sandbox, which fails while its network plugin is starting.
const SANDBOX_GRACE: Duration = Duration::from_secs(90);
/// Messages of a kubelet that cannot create a container yet and will at its next try: its caches are behind, or its
/// runtime is slow. If that never passes, the deployment's start timeout ends it.
const TRANSIENT: [&str; 4] =
    ["failed to sync secret cache", "failed to sync configmap cache", "context deadline exceeded", "is reserved for"];

pub(crate) struct Facts<'a> {
    pub job: &'a Job,
    pub pods: &'a [Pod],
    /// Events of the pod, or of the Job if there is no pod.
    pub events: &'a [Event],
    pub now: Timestamp,
    pub unschedulable_after: Duration,
}

/// The pod that counts: the newest one that is not being deleted.
pub(crate) fn current(pods: &[Pod]) -> Option<&Pod> {
    pods.iter().max_by_key(|pod| (pod.metadata.deletion_timestamp.is_none(), pod.metadata.creation_timestamp.clone()))
}

/// The agent's container.
pub(crate) fn container(pod: &Pod) -> Option<&ContainerStatus> {
    let all = pod.status.as_ref()?.container_statuses.as_deref()?;
    all.iter().find(|status| status.name == CONTAINER)
}

/// Events can tell more than the objects do.
pub(crate) fn wants_events(pods: &[Pod]) -> bool {
    let Some(pod) = current(pods) else { return true };
    let running = container(pod).and_then(|status| status.state.as_ref()).is_some_and(|state| state.running.is_some());
    phase(pod) == "Pending" || (phase(pod) == "Running" && !running)
}

pub(crate) fn judge(facts: &Facts<'_>) -> Seen {
    if facts.job.metadata.deletion_timestamp.is_some() {
        return Seen::Gone;
    }
    if let Some(ended) = ended(facts) {
        return Seen::Failed(ended);
    }
    let Some(pod) = current(facts.pods) else { return without_pod(facts) };
    if pod.metadata.deletion_timestamp.is_some() {
        return starting(say::being_replaced(pod));
    }
    match phase(pod) {
        "Failed" => ended_pod(facts, pod),
        "Succeeded" => Seen::Failed(exited(pod, last_end(pod))),
        "Unknown" => starting(format!("node {} does not answer", node(pod))),
        _ => unscheduled(facts, pod).unwrap_or_else(|| started(facts, pod)),
    }
}

fn starting(waits_for: String) -> Seen {
    Seen::Starting { waits_for }
}

fn failed(reason: FailureReason, detail: String) -> Seen {
    Seen::Failed(failure(None, reason, detail, None))
}

fn failure(pod: Option<&Pod>, reason: FailureReason, detail: String, exit_code: Option<i32>) -> WorkloadFailure {
    let restarts = pod.and_then(container).map_or(0, |status| u32::try_from(status.restart_count).unwrap_or(0));
    WorkloadFailure { reason, detail, exit_code, restarts, last_lines: Vec::new() }
}

/// Judges a Job that is over.
fn ended(facts: &Facts<'_>) -> Option<WorkloadFailure> {
    let conditions = facts.job.status.as_ref()?.conditions.as_deref().unwrap_or_default();
    let holds = |names: &[&str]| conditions.iter().find(|c| c.status == "True" && names.contains(&c.type_.as_str()));
    let pod = current(facts.pods);
    if holds(&["Complete", "SuccessCriteriaMet"]).is_some() {
        let end = pod.and_then(last_end);
        return Some(match (pod, end) {
            (Some(pod), end) => exited(pod, end),
            (None, _) => failure(None, FailureReason::Exited, say::exited(0, None), Some(0)),
        });
    }
    let condition = holds(&["Failed", "FailureTarget"])?;
    let end = pod.and_then(last_end);
    let Some((pod, end)) = pod.zip(end) else {
        let why = say::job_failed(condition.reason.as_deref(), condition.message.as_deref());
        return Some(failure(pod, FailureReason::Exited, format!("{why} {}", say::POD_IS_GONE), None));
    };
    if condition.reason.as_deref() == Some("DeadlineExceeded") {
        let why = say::job_failed(condition.reason.as_deref(), condition.message.as_deref());
        return Some(failure(Some(pod), FailureReason::NotReady, why, Some(end.exit_code)));
    }
    Some(exited(pod, Some(end)))
}

/// Judges a container that ended.
fn exited(pod: &Pod, end: Option<&ContainerStateTerminated>) -> WorkloadFailure {
    let Some(end) = end else {
        return failure(Some(pod), FailureReason::Exited, say::exited(0, None), Some(0));
    };
    let code = Some(end.exit_code);
    match end.reason.as_deref() {
        Some("OOMKilled") => failure(Some(pod), FailureReason::OutOfMemory, say::out_of_memory(pod), code),
        Some("StartError" | "ContainerCannotRun") => {
            let said = end.message.as_deref().unwrap_or_default();
            failure(Some(pod), FailureReason::CannotStart, say::cannot_run(said, architecture(pod)), code)
        }
        _ => failure(Some(pod), FailureReason::Exited, say::exited(end.exit_code, end.signal), code),
    }
}

/// The container's last end: the current one, or the one before its restart.
fn last_end(pod: &Pod) -> Option<&ContainerStateTerminated> {
    let status = container(pod)?;
    [&status.state, &status.last_state].into_iter().flatten().find_map(|state| state.terminated.as_ref())
}

fn without_pod(facts: &Facts<'_>) -> Seen {
    if facts.job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true) {
        return starting("the Job is suspended, by hand or by one of the cluster's queues".to_owned());
    }
    let Some(event) = newest(facts.events, &["FailedCreate"]) else {
        return starting("the cluster has not created the pod yet".to_owned());
    };
    let said = clean(event.message.as_deref().unwrap_or_default());
    match say::no_pod(&said) {
        Some(words) => failed(FailureReason::Cluster, words),
        None => starting(format!("the cluster cannot create the pod yet: {said}")),
    }
}

/// Judges a pod that the cluster ended. The Job creates another one.
fn ended_pod(facts: &Facts<'_>, pod: &Pod) -> Seen {
    let status = pod.status.as_ref();
    let reason = status.and_then(|status| status.reason.as_deref()).unwrap_or("Failed");
    let said = clean(status.and_then(|status| status.message.as_deref()).unwrap_or_default());
    let many = facts.pods.iter().filter(|pod| phase(pod) == "Failed").count();
    let own = reason == "Evicted" && (said.contains("exceeds the") || said.contains("exceeded its"));
    if own || many >= MAX_ENDED_PODS {
        let words = say::ended_by_cluster(reason, &said, many);
        return Seen::Failed(failure(Some(pod), FailureReason::Exited, words, last_end(pod).map(|end| end.exit_code)));
    }
    match last_end(pod) {
        Some(end) if reason == "Failed" => {
            starting(format!("the container ended with exit code {} and is being recreated", end.exit_code))
        }
        _ => starting(format!("the cluster ended the pod ({reason}: {said}) and is creating another")),
    }
}

fn unscheduled(facts: &Facts<'_>, pod: &Pod) -> Option<Seen> {
    let condition = condition(pod, "PodScheduled").filter(|condition| condition.status == "False")?;
    let said = clean(condition.message.as_deref().unwrap_or_default());
    if condition.reason.as_deref() == Some("SchedulingGated") {
        return Some(starting(format!("a scheduling gate of the cluster holds the pod back: {said}")));
    }
    let scaling = newest(facts.events, &["TriggeredScaleUp", "Nominated"]).is_some();
    let patience = if scaling { NEW_NODE } else { facts.unschedulable_after };
    let since = pod.metadata.creation_timestamp.as_ref().map_or(facts.now, |time| time.0);
    let words = say::unschedulable(&said, architecture(pod));
    if seconds(since, facts.now) < patience.as_secs() {
        return Some(starting(format!("waiting for a node: {words}")));
    }
    Some(failed(FailureReason::Unschedulable, words))
}

/// Judges a pod that has a node.
fn started(facts: &Facts<'_>, pod: &Pod) -> Seen {
    let Some(status) = container(pod) else { return prepared(facts, pod) };
    let restarts = u32::try_from(status.restart_count).unwrap_or(0);
    let state = status.state.clone().unwrap_or_default();
    if let Some(running) = state.running {
        let since = running.started_at.map_or(facts.now, |time| time.0);
        let ready = condition(pod, "Ready");
        if status.ready && ready.is_none_or(|condition| condition.status == "True") {
            let name = pod.metadata.name.clone().unwrap_or_default();
            return Seen::Ready { pod: name, for_s: seconds(since, facts.now), restarts };
        }
        let why = ready.and_then(|c| c.message.as_deref().or(c.reason.as_deref())).map(clean);
        return starting(format!(
            "the container runs on node {} and is not ready{}",
            node(pod),
            why.map(|why| format!(": {why}")).unwrap_or_default()
        ));
    }
    if let Some(end) = state.terminated {
        return starting(format!("the container ended with exit code {} and is being restarted", end.exit_code));
    }
    let waiting = state.waiting.unwrap_or_default();
    let reason = waiting.reason.as_deref().unwrap_or_default();
    let said = waiting.message.as_deref().unwrap_or_default();
    match reason {
        "CrashLoopBackOff" => {
            let mut end = exited(pod, last_end(pod));
            end.detail = say::again_and_again(&end.detail, restarts);
            Seen::Failed(end)
        }
        "ImagePullBackOff"
        | "ErrImagePull"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => not_pulled(facts, pod, reason, said),
        "CreateContainerConfigError"
        | "CreateContainerError"
        | "RunContainerError"
        | "StartError"
        | "PreStartHookError"
        | "PreCreateHookError"
        | "PostStartHookError" => {
            // Either this state has the message, or the end before it does.
            let before = last_end(pod).and_then(|end| end.message.as_deref()).unwrap_or_default();
            let said = if said.is_empty() { before } else { said };
            if TRANSIENT.iter().any(|words| said.contains(words)) {
                return starting(format!("{} is creating the container: {}", on(pod), clean(said)));
            }
            let words = say::cannot_run(said, architecture(pod));
            let code = last_end(pod).map(|end| end.exit_code);
            Seen::Failed(failure(Some(pod), FailureReason::CannotStart, words, code))
        }
        _ => prepared(facts, pod),
    }
}

fn not_pulled(facts: &Facts<'_>, pod: &Pod, reason: &str, said: &str) -> Seen {
    // `Back-off pulling image` has no cause in it; the event before it does.
    let event = facts.events.iter().filter(|event| event.reason.as_deref() == Some("Failed"));
    let event = event.filter_map(|event| event.message.as_deref()).filter(|text| text.contains("pull image"));
    let told = event.max_by_key(|text| text.len()).unwrap_or_default();
    let said = if said.len() > told.len() || said.contains("ErrImagePull:") { said } else { told };
    let failed = pull::explain(reason, said, architecture(pod));
    if failed.is_permanent || reason != "ErrImagePull" {
        return Seen::Failed(failure(Some(pod), FailureReason::ImagePull, failed.text, None));
    }
    starting(failed.text)
}

/// Judges a pod whose container is not created yet.
fn prepared(facts: &Facts<'_>, pod: &Pod) -> Seen {
    let inits = pod.status.as_ref().and_then(|status| status.init_container_statuses.as_deref()).unwrap_or_default();
    for init in inits {
        let waiting = init.state.as_ref().and_then(|state| state.waiting.as_ref());
        let reason = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
        if reason.ends_with("BackOff") || reason.ends_with("Error") {
            let said = waiting.and_then(|waiting| waiting.message.as_deref()).unwrap_or_default();
            return failed(
                FailureReason::CannotStart,
                format!(
                    "The container {:?}, which the cluster adds to every pod, does not start ({reason}): {}",
                    clean(&init.name),
                    clean(said)
                ),
            );
        }
    }
    let Some(event) = newest(facts.events, &["FailedCreatePodSandBox", "FailedMount", "FailedAttachVolume"]) else {
        return starting(format!("{} is creating the container or pulling the image", on(pod)));
    };
    let said = clean(event.message.as_deref().unwrap_or_default());
    let age = pod.metadata.creation_timestamp.as_ref().map_or(0, |time| seconds(time.0, facts.now));
    let no_runtime = said.contains("no runtime for") || said.contains("unknown runtime handler");
    if no_runtime || age >= SANDBOX_GRACE.as_secs() {
        return failed(FailureReason::CannotStart, say::no_sandbox(&said, node(pod), no_runtime));
    }
    starting(format!("{} is creating the pod: {said}", on(pod)))
}

fn newest<'a>(events: &'a [Event], reasons: &[&str]) -> Option<&'a Event> {
    let of = events.iter().filter(|event| event.reason.as_deref().is_some_and(|reason| reasons.contains(&reason)));
    of.max_by_key(|event| {
        let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        series.max(last).max(event.event_time.as_ref().map(|time| time.0))
    })
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

fn condition<'a>(pod: &'a Pod, name: &str) -> Option<&'a PodCondition> {
    let all = pod.status.as_ref()?.conditions.as_deref()?;
    all.iter().find(|condition| condition.type_ == name)
}

pub(crate) fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("?")
}

/// The node, as the subject of a sentence.
fn on(pod: &Pod) -> String {
    match pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) {
        Some(name) => format!("node {name}"),
        None => "a node".to_owned(),
    }
}

pub(crate) fn architecture(pod: &Pod) -> &str {
    let selector = pod.spec.as_ref().and_then(|spec| spec.node_selector.as_ref());
    selector.and_then(|labels| labels.get("kubernetes.io/arch")).map_or("?", String::as_str)
}

fn seconds(since: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.as_second().saturating_sub(since.as_second())).unwrap_or(0)
}
