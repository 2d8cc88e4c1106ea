//! Judges the containers of a pod that are not the agent's own: the cluster adds them (a webhook, a service mesh), beside it,
//! before it, or before it and then beside it (a native sidecar). Their trouble is not the version's. Pure.

use cofferdam_contract::FailureReason;

use crate::answers::{ContainerStatus, Pod, State, Terminated};
use crate::judge::{Facts, TRANSIENT, container, failed_with, pull_event, starting};
use crate::names::CONTAINER;
use crate::{HeldBy, Seen, Words, pull};

/// A container that was restarted this often will not come up by itself.
const MAX_RESTARTS: u32 = 3;

/// The trouble of another container that keeps the pod from being ready: the worst, and of equals the first.
pub(crate) fn trouble(facts: &Facts<'_>, pod: &Pod) -> Option<Seen> {
    let status = pod.status.as_ref()?;
    let own_is_ready = container(pod).is_some_and(|own| own.ready);
    let before = status.init_container_statuses.iter().map(|other| (&other.0, true));
    let beside = status.container_statuses.iter().filter(|other| other.name != CONTAINER).map(|other| (other, false));
    let all = before.chain(beside).filter_map(|(other, is_init)| of(facts, pod, other, is_init, own_is_ready));
    all.min_by_key(|seen| u8::from(!matches!(seen, Seen::Failed(_))))
}

fn of(facts: &Facts<'_>, pod: &Pod, other: &ContainerStatus, is_init: bool, own_is_ready: bool) -> Option<Seen> {
    let state = other.state.as_ref()?;
    if let Some(end) = &state.terminated {
        // One that runs before the agent's and ended well has done its work.
        let words = subject(other).and(format!(", ended with exit code {}", end.exit_code));
        return (!is_init || end.exit_code != 0).then(|| by_cluster(words));
    }
    let Some(waiting) = &state.waiting else {
        // The agent may be what it waits for.
        let counts = !other.ready && (own_is_ready || is_init);
        return counts.then(|| by_cluster(subject(other).and(", runs and is not ready")));
    };
    let said = waiting.message.as_deref().unwrap_or_default();
    match waiting.reason.as_deref().unwrap_or_default() {
        "" | "PodInitializing" | "ContainerCreating" => None,
        reason if pull::REASONS.contains(&reason) => {
            let failed = pull::explain_other(subject(other), reason, pull_event(facts, said));
            if failed.is_permanent || reason != "ErrImagePull" {
                return Some(Seen::Failed(failed_with(Some(pod), FailureReason::ImagePull, failed.text, None)));
            }
            Some(by_cluster(failed.text))
        }
        reason => {
            let words = subject(other).and(", is not up (").theirs(reason);
            let words = match end_of(other) {
                Some(end) => words.and(format!("; it ended with exit code {})", end.exit_code)),
                None => words.and(")"),
            };
            let words = words.saying(". The node says:", said);
            let passes = reason == "CrashLoopBackOff" && other.restarts() < MAX_RESTARTS;
            if passes || TRANSIENT.iter().any(|words| said.contains(words)) {
                return Some(by_cluster(words));
            }
            Some(Seen::Failed(failed_with(Some(pod), FailureReason::Cluster, words, None)))
        }
    }
}

/// Its last end, in the state before this one.
fn end_of(other: &ContainerStatus) -> Option<&Terminated> {
    other.last_state.as_ref().and_then(|state: &State| state.terminated.as_ref())
}

fn subject(other: &ContainerStatus) -> Words {
    let words = Words::ours("The container \"").theirs(&other.name);
    words.and("\", which is not the agent's own (the cluster adds it to the pod)")
}

fn by_cluster(words: Words) -> Seen {
    starting(words, HeldBy::Cluster)
}
