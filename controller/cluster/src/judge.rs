//! Judges a workload by its Job, pods and events. Pure: everything that was read goes in, with the current time.

use std::time::Duration;

use cofferdam_contract::FailureReason;
use k8s_openapi::jiff::Timestamp;

use crate::answers::{Condition, ContainerStatus, Event, Job, Pod, Waiting};
use crate::judge_end as end;
use crate::names::CONTAINER;
use crate::{HeldBy, Seen, Words, WorkloadFailure};
use crate::{judge_other as other, judge_words as say, pull};

/// The time that an autoscaler gets to add a node for a pod.
const NEW_NODE: Duration = Duration::from_secs(600);
/// The time that a node gets to create a pod's sandbox, which fails while its network plugin is starting.
const SANDBOX_GRACE: Duration = Duration::from_secs(90);
/// An agent that refuses connections at the port of the published SDK for this long does not use the SDK's server.
const DEFAULT_PROBE_GRACE: Duration = Duration::from_secs(30);
/// An end is looked into for this long: by then the driver has seen it.
pub(crate) const FRESH_END: Duration = Duration::from_secs(120);
/// Messages of a kubelet that cannot create a container yet and will at its next try: its caches are behind, or its
/// runtime is slow. If that never passes, the deployment's start timeout ends it.
pub(crate) const TRANSIENT: [&str; 4] =
    ["failed to sync secret cache", "failed to sync configmap cache", "context deadline exceeded", "is reserved for"];

/// Processors of nodes. A name that a cluster made up is not repeated.
const ARCHITECTURES: [&str; 7] = ["amd64", "arm64", "arm", "386", "ppc64le", "riscv64", "s390x"];

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
    pod.status.as_ref()?.container_statuses.iter().find(|status| status.name == CONTAINER)
}

/// Events can tell more than the objects do.
pub(crate) fn wants_events(pods: &[Pod], now: Timestamp) -> bool {
    let Some(pod) = current(pods) else { return true };
    let running = container(pod).and_then(|status| status.state.as_ref()).is_some_and(|state| state.running.is_some());
    let settled = running && is_ready(pod) && !has_fresh_end(pod, now);
    // How a pod ended that is over may only be in its events.
    let over = phase(pod) == "Succeeded" || (phase(pod) == "Failed" && end::told(&[], pod).is_none());
    phase(pod) == "Pending" || over || (phase(pod) == "Running" && !settled)
}

/// The container ended a moment ago.
pub(crate) fn has_fresh_end(pod: &Pod, now: Timestamp) -> bool {
    let finished = end::last_end(pod).and_then(|end| end.finished_at.as_ref());
    finished.is_some_and(|time| seconds(time.0, now) < FRESH_END.as_secs())
}

pub(crate) fn judge(facts: &Facts<'_>) -> Seen {
    if facts.job.metadata.deletion_timestamp.is_some() {
        return Seen::Gone;
    }
    if let Some(ended) = end::of_job(facts) {
        return ended;
    }
    let held = held(facts.job);
    let Some(pod) = current(facts.pods) else { return without_pod(facts, held) };
    if pod.metadata.deletion_timestamp.is_some() {
        let waits_for = held.map_or_else(|| say::being_replaced(pod), Words::from);
        return Seen::Starting { waits_for, held_by: HeldBy::Cluster };
    }
    let seen = match phase(pod) {
        "Failed" => end::of_pod(facts, pod),
        // Its Job completes next, and is created again.
        "Succeeded" => {
            end::by_cluster(facts, pod).unwrap_or_else(|| Seen::Failed(end::of_container(pod, end::last_end(pod))))
        }
        "Unknown" => starting(on(pod).and(" does not answer"), HeldBy::Cluster),
        _ => unscheduled(facts, pod).unwrap_or_else(|| started(facts, pod)),
    };
    match (end::evicted_before(facts, pod), seen) {
        (Some(failure), now @ (Seen::Ready { .. } | Seen::Starting { .. })) => {
            Seen::Crashed { failure, now: Box::new(now) }
        }
        (_, seen) => seen,
    }
}

/// Why the Job creates no pod, if it was told so.
fn held(job: &Job) -> Option<&'static str> {
    let spec = job.spec.as_ref()?;
    match (spec.suspend, spec.parallelism) {
        (Some(true), _) => Some(say::SUSPENDED),
        (_, Some(0)) => Some(say::SCALED_TO_ZERO),
        _ => None,
    }
}

pub(crate) fn starting(waits_for: impl Into<Words>, held_by: HeldBy) -> Seen {
    Seen::Starting { waits_for: waits_for.into(), held_by }
}

fn failed(reason: FailureReason, detail: Words) -> Seen {
    Seen::Failed(failed_with(None, reason, detail, None))
}

pub(crate) fn failed_with(
    pod: Option<&Pod>,
    reason: FailureReason,
    detail: Words,
    exit_code: Option<i32>,
) -> WorkloadFailure {
    let restarts = pod.and_then(container).map_or(0, ContainerStatus::restarts);
    WorkloadFailure { reason, detail, exit_code, restarts, end: String::new(), last_lines: Vec::new() }
}

fn without_pod(facts: &Facts<'_>, held: Option<&'static str>) -> Seen {
    if let Some(why) = held {
        return starting(why, HeldBy::Cluster);
    }
    let Some(event) = newest(facts.events, &["FailedCreate"]) else {
        return starting("the cluster has not created the pod yet", HeldBy::Cluster);
    };
    let said = event.message.as_deref().unwrap_or_default();
    match say::no_pod(said) {
        Some(words) => failed(FailureReason::Cluster, words),
        None => starting(Words::ours("the cluster cannot create the pod yet").saying(":", said), HeldBy::Cluster),
    }
}

fn unscheduled(facts: &Facts<'_>, pod: &Pod) -> Option<Seen> {
    let condition = condition(pod, "PodScheduled").filter(|condition| condition.status == "False")?;
    let said = condition.message.as_deref().unwrap_or_default();
    if condition.reason.as_deref() == Some("SchedulingGated") {
        let words = Words::ours("a scheduling gate of the cluster holds the pod back").saying(":", said);
        return Some(starting(words, HeldBy::Cluster));
    }
    let scaling = newest(facts.events, &["TriggeredScaleUp", "Nominated"]).is_some();
    let patience = if scaling { NEW_NODE } else { facts.unschedulable_after };
    let since = pod.metadata.creation_timestamp.as_ref().map_or(facts.now, |time| time.0);
    let words = say::unschedulable(said, architecture(pod));
    if seconds(since, facts.now) < patience.as_secs() {
        return Some(starting(words.after("waiting for a node: "), HeldBy::Cluster));
    }
    Some(failed(FailureReason::Unschedulable, words))
}

/// Judges a pod that has a node.
fn started(facts: &Facts<'_>, pod: &Pod) -> Seen {
    let Some(status) = container(pod) else {
        return other::trouble(facts, pod).unwrap_or_else(|| prepared(facts, pod));
    };
    let state = status.state.as_ref();
    let terminated = state.and_then(|state| state.terminated.as_ref());
    if let Some(taken) = terminated.and_then(|_| end::by_cluster(facts, pod)) {
        return taken;
    }
    if let Some(end) = terminated.filter(|end| end.exit_code == 0) {
        // Nothing restarts it.
        return Seen::Failed(end::of_container(pod, Some(end)));
    }
    let now = if let Some(running) = state.and_then(|state| state.running.as_ref()) {
        runs(facts, pod, status, running.started_at.as_ref().map_or(facts.now, |time| time.0))
    } else if let Some(end) = terminated {
        let words = format!("the container ended with exit code {} and is being restarted", end.exit_code);
        starting(words, HeldBy::Itself)
    } else {
        waits(facts, pod, state.and_then(|state| state.waiting.as_ref()).unwrap_or(&Waiting::default()))
    };
    let crash = end::crash(facts, pod);
    let now = match now {
        now @ (Seen::Ready { .. } | Seen::Starting { .. }) if crash.is_none() && !is_ready(pod) => {
            other::trouble(facts, pod).unwrap_or(now)
        }
        now => now,
    };
    match (crash, now) {
        (Some(failure), now @ (Seen::Ready { .. } | Seen::Starting { .. })) => {
            Seen::Crashed { failure, now: Box::new(now) }
        }
        (_, now) => now,
    }
}

/// Judges a container that runs.
fn runs(facts: &Facts<'_>, pod: &Pod, status: &ContainerStatus, since: Timestamp) -> Seen {
    let ready = condition(pod, "Ready");
    let name = pod.metadata.name.clone().unwrap_or_default();
    let restarts = status.restarts();
    if is_ready(pod) {
        // A container without a probe is ready when it starts.
        let turned = ready.and_then(|condition| condition.last_transition_time.as_ref()).map_or(since, |time| time.0);
        return Seen::Ready { pod: name, for_s: seconds(since.max(turned), facts.now), restarts };
    }
    // A kubelet always says why its pod is not ready. A cluster that misses the kubelet does not, and leaves the container ready.
    let by_cluster = |c: &Condition| status.ready && c.reason.as_deref().unwrap_or_default().is_empty();
    let lost =
        ready.is_some_and(|c| c.status == "Unknown" || c.reason.as_deref() == Some("NodeNotReady") || by_cluster(c));
    let failing = failing_probe(facts, status);
    let ran = seconds(since, facts.now);
    let refused = failing.is_some_and(|(is_startup, said)| !is_startup && said.contains("connection refused"));
    if !lost && refused && has_default_probe(pod) && ran >= DEFAULT_PROBE_GRACE.as_secs() {
        return Seen::Ready { pod: name, for_s: ran, restarts };
    }
    // While the agent's container is ready, it is something else that its pod lacks.
    let held_by = if lost || status.ready { HeldBy::Cluster } else { HeldBy::Itself };
    if let (false, Some((is_startup, said))) = (lost, failing) {
        // A probe that answers nothing leaves a colon.
        let said = said.trim_end_matches([':', ' ', '\n']);
        return starting(say::probe_fails(pod, is_startup, said), held_by);
    }
    let said = ready.and_then(|c| c.message.as_deref().or(c.reason.as_deref()));
    let words = match lost {
        true => on(pod).and(" does not answer, so it is not known if the container still runs"),
        false => on(pod).after("the container runs on ").and(" and is not ready"),
    };
    starting(words.saying(":", said.unwrap_or_default()), held_by)
}

/// The probe that failed last, and what the node said: the one that holds the others back while the container starts, or
/// that of its readiness.
fn failing_probe<'a>(facts: &Facts<'a>, status: &ContainerStatus) -> Option<(bool, &'a str)> {
    let failing = facts.events.iter().filter_map(|event| {
        let said = event.message.as_deref().filter(|_| event.reason.as_deref() == Some("Unhealthy"))?;
        let is_startup = said.starts_with("Startup probe");
        // What is left from before the container had started, or from the one before it.
        let counts = status.started.is_none_or(|started| started != is_startup);
        (counts && (is_startup || said.starts_with("Readiness probe"))).then_some((event, is_startup, said))
    });
    let newest = failing.max_by_key(|(event, ..)| last_time(event));
    newest.map(|(_, is_startup, said)| (is_startup, said))
}

/// The container and its pod are ready.
fn is_ready(pod: &Pod) -> bool {
    let ready = condition(pod, "Ready");
    container(pod).is_some_and(|status| status.ready) && ready.is_none_or(|condition| condition.status == "True")
}

/// Its readiness probe is ours, and the agent may know nothing of it.
fn has_default_probe(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|marks| marks.default_probe.is_some())
}

/// Judges a container that waits to be started.
fn waits(facts: &Facts<'_>, pod: &Pod, waiting: &Waiting) -> Seen {
    let reason = waiting.reason.as_deref().unwrap_or_default();
    let said = waiting.message.as_deref().unwrap_or_default();
    match reason {
        "CrashLoopBackOff" => match end::last_end(pod) {
            Some(_) => starting("the node waits before it restarts the container", HeldBy::Itself),
            // A node that restarts something without an end to show.
            None => Seen::Failed(end::of_container(pod, None)),
        },
        reason if pull::REASONS.contains(&reason) => not_pulled(facts, pod, reason, said),
        "CreateContainerConfigError"
        | "CreateContainerError"
        | "RunContainerError"
        | "StartError"
        | "PreStartHookError"
        | "PreCreateHookError"
        | "PostStartHookError" => {
            // Either this state has the message, or the end before it does.
            let before = end::last_end(pod).and_then(|end| end.message.as_deref()).unwrap_or_default();
            let said = if said.is_empty() { before } else { said };
            if TRANSIENT.iter().any(|words| said.contains(words)) {
                return starting(on(pod).and(" is creating the container").saying(":", said), HeldBy::Itself);
            }
            let words = say::cannot_run(said, architecture(pod));
            let code = end::last_end(pod).map(|end| end.exit_code);
            Seen::Failed(failed_with(Some(pod), FailureReason::CannotStart, words, code))
        }
        _ => prepared(facts, pod),
    }
}

fn not_pulled(facts: &Facts<'_>, pod: &Pod, reason: &str, said: &str) -> Seen {
    let failed = pull::explain(reason, pull_event(facts, said), architecture(pod));
    if failed.is_permanent || reason != "ErrImagePull" {
        return Seen::Failed(failed_with(Some(pod), FailureReason::ImagePull, failed.text, None));
    }
    starting(failed.text, HeldBy::Cluster)
}

/// The message with the cause of a failed pull: `said`, or an event about the same image.
pub(crate) fn pull_event<'a>(facts: &Facts<'a>, said: &'a str) -> &'a str {
    // `Back-off pulling image` has no cause in it; the event before it does.
    let image = said.split('"').nth(1);
    let event = facts.events.iter().filter(|event| event.reason.as_deref() == Some("Failed"));
    let event = event.filter_map(|event| event.message.as_deref()).filter(|text| text.contains("pull image"));
    let event = event.filter(|text| image.is_none_or(|image| text.contains(image)));
    let told = event.max_by_key(|text| text.len()).unwrap_or_default();
    if said.len() > told.len() || said.contains("ErrImagePull:") { said } else { told }
}

/// Judges a pod whose container is not created yet.
fn prepared(facts: &Facts<'_>, pod: &Pod) -> Seen {
    let Some(event) = newest(facts.events, &["FailedCreatePodSandBox", "FailedMount", "FailedAttachVolume"]) else {
        return starting(on(pod).and(" is creating the container or pulling the image"), HeldBy::Cluster);
    };
    let said = event.message.as_deref().unwrap_or_default();
    let age = pod.metadata.creation_timestamp.as_ref().map_or(0, |time| seconds(time.0, facts.now));
    let no_runtime = said.contains("no runtime for") || said.contains("unknown runtime handler");
    if no_runtime || age >= SANDBOX_GRACE.as_secs() {
        // A node that cannot create pods cannot create those of another version.
        let reason = if no_runtime { FailureReason::CannotStart } else { FailureReason::Cluster };
        return failed(reason, say::no_sandbox(said, node(pod), no_runtime));
    }
    starting(on(pod).and(" is creating the pod").saying(":", said), HeldBy::Cluster)
}

pub(crate) fn newest<'a>(events: &'a [Event], reasons: &[&str]) -> Option<&'a Event> {
    let of = events.iter().filter(|event| event.reason.as_deref().is_some_and(|reason| reasons.contains(&reason)));
    of.max_by_key(|event| last_time(event))
}

fn last_time(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    series.max(last).max(event.event_time.as_ref().map(|time| time.0))
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

pub(crate) fn condition<'a>(pod: &'a Pod, name: &str) -> Option<&'a Condition> {
    pod.status.as_ref()?.conditions.iter().find(|condition| condition.kind == name)
}

pub(crate) fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("?")
}

/// The node, as the subject of a sentence.
fn on(pod: &Pod) -> Words {
    match pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) {
        Some(name) => Words::ours("node ").theirs(name),
        None => Words::ours("a node"),
    }
}

/// The processor that the pod asks for, if it is a known one.
pub(crate) fn architecture(pod: &Pod) -> &'static str {
    let selector = pod.spec.as_ref().and_then(|spec| spec.node_selector.as_ref());
    let asked = selector.and_then(|labels| labels.architecture.as_deref());
    ARCHITECTURES.into_iter().find(|known| Some(*known) == asked).unwrap_or("?")
}

pub(crate) fn seconds(since: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.as_second().saturating_sub(since.as_second())).unwrap_or(0)
}
