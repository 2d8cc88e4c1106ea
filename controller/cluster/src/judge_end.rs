//! Judges ends: of a Job, of a pod, of a container. Tells the end that a container came to by itself from the one that its
//! cluster made. Pure.

use cofferdam_contract::FailureReason;
use k8s_openapi::jiff::Timestamp;

use crate::answers::{ContainerStatus, Event, Job, Pod, Terminated};
use crate::judge::{
    Facts, architecture, condition, container, current, failed_with, has_fresh_end, newest, phase, seconds, starting,
};
use crate::judge_words as say;
use crate::names::CONTAINER;
use crate::{HeldBy, Seen, WorkloadFailure};

/// Once the cluster has ended this many pods of one Job within [`RECENT`], the workload counts as failed.
const MAX_ENDED_PODS: usize = 3;
/// Pods that were created before do not count: over months a node is drained many times.
const RECENT: u64 = 600;
/// Reasons of a container's end that its node gives when it does not know the end, because it was restarted.
const NODE_RESTARTED: [&str; 2] = ["Unknown", "ContainerStatusUnknown"];

/// The cluster takes the pod away, or has: a drain, an eviction, a deletion by hand.
pub(crate) fn is_taken_away(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
        || told(&[], pod).is_some_and(|(reason, said)| phase(pod) != "Running" && !is_own_limit(reason, said))
        || condition(pod, "DisruptionTarget").is_some_and(|condition| condition.status == "True")
}

/// The Job has ended, and no pod of it will be created.
pub(crate) fn is_over(job: &Job) -> bool {
    let mut conditions = job.status.iter().flat_map(|status| status.conditions.iter());
    let ends = ["Complete", "SuccessCriteriaMet", "Failed", "FailureTarget"];
    conditions.any(|condition| condition.status == "True" && ends.contains(&condition.kind.as_str()))
}

/// Judges a Job that is over.
pub(crate) fn of_job(facts: &Facts<'_>) -> Option<Seen> {
    let conditions = &facts.job.status.as_ref()?.conditions;
    let holds = |names: &[&str]| conditions.iter().find(|c| c.status == "True" && names.contains(&c.kind.as_str()));
    let pod = current(facts.pods);
    if holds(&["Complete", "SuccessCriteriaMet"]).is_some() {
        // An agent that is asked to end exits with 0, which completes its Job: only a pod that nobody took away ended by
        // itself.
        return Some(match pod.map(|pod| (pod, by_cluster(facts, pod))) {
            Some((pod, None)) => Seen::Failed(of_container(pod, last_end(pod))),
            Some((_, Some(seen @ Seen::Failed(_)))) => seen,
            Some((_, Some(_))) | None => Seen::Gone,
        });
    }
    let condition = holds(&["Failed", "FailureTarget"])?;
    let why = say::job_failed(condition.reason.as_deref(), condition.message.as_deref());
    let Some((pod, end)) = pod.and_then(|pod| Some((pod, last_end(pod)?))) else {
        let why = why.after(&format!("{} ", say::POD_IS_GONE));
        return Some(Seen::Failed(failed_with(pod, FailureReason::Exited, why, None)));
    };
    if condition.reason.as_deref() == Some("DeadlineExceeded") {
        return Some(Seen::Failed(failed_with(Some(pod), FailureReason::NotReady, why, Some(end.exit_code))));
    }
    Some(Seen::Failed(of_container(pod, Some(end))))
}

/// The cluster's reason for ending the pod, and what it says: in the pod's status, or only in an event.
pub(crate) fn told<'a>(events: &'a [Event], pod: &'a Pod) -> Option<(&'a str, &'a str)> {
    let status = pod.status.as_ref()?;
    if let Some(reason) = status.reason.as_deref().filter(|reason| !reason.is_empty() && *reason != "Failed") {
        return Some((reason, status.message.as_deref().unwrap_or_default()));
    }
    let event = newest(events, &["Evicted", "Preempting"])?;
    Some((event.reason.as_deref()?, event.message.as_deref().unwrap_or_default()))
}

/// The pod was evicted for what its own container used, whatever the container's exit code. A node that is short of
/// something says so instead, and a container that the cluster adds is named.
fn is_own_limit(reason: &str, said: &str) -> bool {
    let own = said.strip_prefix("Container ").is_some_and(|rest| rest.starts_with(&format!("{CONTAINER} ")));
    reason == "Evicted" && (said.contains("exceeds the") || (own && said.contains("exceeded its")))
}

/// Judges a pod that the cluster ended. The Job creates another one.
pub(crate) fn of_pod(facts: &Facts<'_>, pod: &Pod) -> Seen {
    let message = pod.status.as_ref().and_then(|status| status.message.as_deref()).unwrap_or_default();
    let (reason, said) = told(facts.events, pod).unwrap_or(("Failed", message));
    ended(facts, pod, reason, said)
}

/// Judges a pod whose container has ended, if the cluster ended it or takes the pod away.
pub(crate) fn by_cluster(facts: &Facts<'_>, pod: &Pod) -> Option<Seen> {
    if let Some((reason, said)) = told(facts.events, pod) {
        return Some(ended(facts, pod, reason, said));
    }
    is_taken_away(pod).then(|| starting(say::being_replaced(pod), HeldBy::Cluster))
}

/// The failure of a pod that was evicted for its own limit.
fn evicted(pod: &Pod, reason: &str, said: &str) -> WorkloadFailure {
    let code = last_end(pod).map(|end| end.exit_code);
    let failure = failed_with(Some(pod), FailureReason::Exited, say::ended_by_cluster(reason, said, 1), code);
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    WorkloadFailure { end: format!("{name}/{reason}"), ..failure }
}

/// The eviction of a pod that is over, if it exceeded its own limit a moment ago.
pub(crate) fn evicted_lately(pod: &Pod, now: Timestamp) -> Option<WorkloadFailure> {
    let (reason, said) = told(&[], pod).filter(|(reason, said)| is_own_limit(reason, said))?;
    (phase(pod) != "Running" && has_fresh_end(pod, now)).then(|| evicted(pod, reason, said))
}

/// That of the pod before this one: the Job may have replaced it before anybody looked. One end is told at a time.
pub(crate) fn evicted_before(facts: &Facts<'_>, pod: &Pod) -> Option<WorkloadFailure> {
    let others = facts.pods.iter().filter(|other| other.metadata.name != pod.metadata.name);
    let before = others.max_by_key(|other| other.metadata.creation_timestamp.clone())?;
    last_end(pod).is_none().then(|| evicted_lately(before, facts.now))?
}

fn ended(facts: &Facts<'_>, pod: &Pod, reason: &str, said: &str) -> Seen {
    if is_own_limit(reason, said) {
        return Seen::Failed(evicted(pod, reason, said));
    }
    let recent = |pod: &&Pod| {
        let created = pod.metadata.creation_timestamp.as_ref().map_or(facts.now, |time| time.0);
        phase(pod) == "Failed" && seconds(created, facts.now) < RECENT
    };
    let many = facts.pods.iter().filter(recent).count();
    if many >= MAX_ENDED_PODS {
        // A node that is short of memory or shuts down is not the version's fault, however often it happens.
        let whose = if reason == "Failed" { FailureReason::Exited } else { FailureReason::Cluster };
        let code = last_end(pod).map(|end| end.exit_code);
        return Seen::Failed(failed_with(Some(pod), whose, say::ended_by_cluster(reason, said, many), code));
    }
    match last_end(pod) {
        Some(end) if reason == "Failed" && !is_taken_away(pod) => {
            let words = format!("the container ended with exit code {} and is being recreated", end.exit_code);
            let now = Box::new(starting(words, HeldBy::Itself));
            Seen::Crashed { failure: of_container(pod, Some(end)), now }
        }
        _ => Seen::Starting { waits_for: say::pod_was_ended(reason, said), held_by: HeldBy::Cluster },
    }
}

/// The last end of a container that runs on or will be restarted, if it ended by itself.
pub(crate) fn crash(facts: &Facts<'_>, pod: &Pod) -> Option<WorkloadFailure> {
    let end = last_end(pod).filter(|_| !is_taken_away(pod))?;
    if end.reason.as_deref().is_some_and(|reason| NODE_RESTARTED.contains(&reason)) {
        return None;
    }
    let mut failure = of_container(pod, Some(end));
    let killed = newest(facts.events, &["Killing"]).and_then(|event| event.message.as_deref());
    let by_probe = |probe: &str| killed.is_some_and(|said| said.contains(probe));
    // A container that ran out of memory or could not be started says more by its end.
    if failure.reason == FailureReason::Exited {
        if by_probe("failed liveness probe") {
            failure.detail = say::killed_by_probe(pod, end.exit_code, "");
        } else if by_probe("failed startup probe") {
            failure.detail = say::killed_by_probe(pod, end.exit_code, " while it started");
        }
    }
    failure.detail = failure.detail.after(&say::restarted(failure.restarts));
    Some(failure)
}

/// Judges a container that ended.
pub(crate) fn of_container(pod: &Pod, end: Option<&Terminated>) -> WorkloadFailure {
    let Some(end) = end else {
        return failed_with(Some(pod), FailureReason::Exited, say::exited(0, None).into(), Some(0));
    };
    let code = Some(end.exit_code);
    let failure = match end.reason.as_deref() {
        Some("OOMKilled") => failed_with(Some(pod), FailureReason::OutOfMemory, say::out_of_memory(pod), code),
        Some("StartError" | "ContainerCannotRun") => {
            let said = end.message.as_deref().unwrap_or_default();
            failed_with(Some(pod), FailureReason::CannotStart, say::cannot_run(said, architecture(pod)), code)
        }
        _ => failed_with(Some(pod), FailureReason::Exited, say::exited(end.exit_code, end.signal).into(), code),
    };
    let restarts = container(pod).map_or(0, ContainerStatus::restarts);
    let when = end.finished_at.as_ref().map_or_else(|| restarts.to_string(), |time| time.0.to_string());
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    WorkloadFailure { end: format!("{name}/{when}"), ..failure }
}

/// The container's last end: the current one, or the one before its restart.
pub(crate) fn last_end(pod: &Pod) -> Option<&Terminated> {
    let status = container(pod)?;
    [&status.state, &status.last_state].into_iter().flatten().find_map(|state| state.terminated.as_ref())
}
