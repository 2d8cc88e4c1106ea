//! Judges a workload with several pods: each by itself, and together by the worst of them. Pure.

use std::slice::from_ref;

use crate::answers::{Event, Pod};
use crate::judge::{self, Facts, current, judge, phase};
use crate::judge_end::{evicted_lately, is_over, is_taken_away, last_end};
use crate::objects::ENDS_PER_POD;
use crate::{HeldBy, Seen, WorkloadFailure};

/// The pods that the Job is to have: its completions say so and cannot be changed, its parallelism can.
fn wanted(facts: &Facts<'_>) -> usize {
    let completions = facts.job.spec.as_ref().and_then(|spec| spec.completions).unwrap_or(1);
    let pods = if completions < ENDS_PER_POD { completions } else { completions / ENDS_PER_POD };
    usize::try_from(pods).unwrap_or(1)
}

/// The pods that count, the newest first: those that the cluster has neither ended nor takes away. One that ended by itself
/// comes before them, because the Job has replaced it.
fn alive<'a>(pods: &'a [Pod], most: usize) -> Vec<&'a Pod> {
    let lives = |pod: &&'a Pod| match phase(pod) {
        "Failed" => false,
        "Succeeded" => !is_taken_away(pod),
        _ => pod.metadata.deletion_timestamp.is_none(),
    };
    let mut alive: Vec<&Pod> = pods.iter().filter(lives).collect();
    alive.sort_by_key(|pod| (phase(pod) != "Succeeded", std::cmp::Reverse(pod.metadata.creation_timestamp.clone())));
    alive.truncate(most);
    alive
}

/// The pod whose events tell most: one that is not settled, else the newest.
pub(crate) fn in_question<'a>(facts: &Facts<'a>) -> Option<&'a Pod> {
    let most = wanted(facts);
    if most < 2 {
        return current(facts.pods);
    }
    let unsettled = alive(facts.pods, most).into_iter().find(|pod| judge::wants_events(from_ref(pod), facts.now));
    unsettled.or_else(|| current(facts.pods))
}

/// The judgement, and the pod that it is about. `facts.events` are those of the pod in question.
pub(crate) fn judge_all<'a>(facts: &Facts<'a>) -> (Seen, Option<&'a Pod>) {
    let most = wanted(facts);
    let pods = alive(facts.pods, most);
    let held = facts.job.spec.as_ref().is_some_and(|spec| spec.suspend == Some(true) || spec.parallelism == Some(0));
    if most < 2 || pods.is_empty() || held || is_over(facts.job) || facts.job.metadata.deletion_timestamp.is_some() {
        let seen = judge(facts);
        let about = ended(&seen, facts.pods).or_else(|| current(facts.pods));
        return (seen, about);
    }
    let name = |pod: &Pod| pod.metadata.name.clone();
    let about = in_question(facts).and_then(name);
    let none: &[Event] = &[];
    let each = pods.iter().map(|pod| {
        let events = if name(pod) == about { facts.events } else { none };
        (judge(&Facts { pods: from_ref(*pod), events, ..*facts }), *pod)
    });
    // The newest crash is told, with the state of all pods now: one that was dealt with must not hide another one.
    let mut crash: Option<(WorkloadFailure, &Pod)> = None;
    let since = |pod: &Pod| last_end(pod).and_then(|end| end.finished_at.as_ref()).map(|time| time.0);
    let mut all: Vec<(Seen, &Pod)> = Vec::with_capacity(pods.len());
    for (seen, pod) in each {
        match seen {
            Seen::Crashed { failure, now } => {
                if crash.as_ref().is_none_or(|(_, before)| since(before) <= since(pod)) {
                    crash = Some((failure, pod));
                }
                all.push((*now, pod));
            }
            seen => all.push((seen, pod)),
        }
    }
    // The Job has replaced these.
    for pod in facts.pods.iter().filter(|pod| phase(pod) == "Failed") {
        if let Some(failure) = evicted_lately(pod, facts.now)
            && crash.as_ref().is_none_or(|(_, before)| since(before) <= since(pod))
        {
            crash = Some((failure, pod));
        }
    }
    let ready = all.iter().filter(|(seen, _)| matches!(seen, Seen::Ready { .. })).count();
    // Of equal judgements the one about the newest pod is told; the pod that was ready last bounds the time.
    all.sort_by_key(|(seen, pod)| (severity(seen), for_s(seen), name(pod)));
    let Some((worst, pod)) = all.into_iter().next() else { return (judge(facts), current(facts.pods)) };
    let worst = match worst {
        Seen::Ready { .. } if ready < most => {
            judge::starting(format!("{ready} of {most} pods are ready"), HeldBy::Cluster)
        }
        worst => worst,
    };
    match (crash, worst) {
        (Some((failure, pod)), now @ (Seen::Ready { .. } | Seen::Starting { .. })) => {
            (Seen::Crashed { failure, now: Box::new(now) }, Some(pod))
        }
        (_, worst) => (worst, Some(pod)),
    }
}

/// The pod whose end a judgement is about, which may be one before the current pod.
fn ended<'a>(seen: &Seen, pods: &'a [Pod]) -> Option<&'a Pod> {
    let (Seen::Crashed { failure, .. } | Seen::Failed(failure)) = seen else { return None };
    let (name, _) = failure.end.split_once('/')?;
    pods.iter().find(|pod| pod.metadata.name.as_deref() == Some(name))
}

/// The worst first.
fn severity(seen: &Seen) -> u8 {
    match seen {
        Seen::Failed(_) => 0,
        Seen::Crashed { .. } => 1,
        Seen::Gone => 2,
        Seen::Starting { .. } => 3,
        Seen::Ready { .. } => 4,
    }
}

fn for_s(seen: &Seen) -> u64 {
    if let Seen::Ready { for_s, .. } = seen { *for_s } else { 0 }
}
