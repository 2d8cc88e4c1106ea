//! Sentences about a pod: what happened, and what to do. Pure.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::answers::{Pod, Probe, ProbePlace};
use crate::names::CONTAINER;
use crate::{Words, judge};

pub(crate) const POD_IS_GONE: &str =
    "The pod is gone, and its log in the cluster with it; the agent's logs here go back further.";

/// A pod is being deleted while its Job is not.
pub(crate) fn being_replaced(pod: &Pod) -> Words {
    let why = judge::condition(pod, "DisruptionTarget").and_then(|condition| condition.message.as_deref());
    let words = Words::ours("the pod on node ").theirs(judge::node(pod));
    words.and(" is being deleted; another one replaces it").saying(". The cluster says:", why.unwrap_or_default())
}

/// A container ended; `signal` is what the cluster reports, or follows from the exit code.
pub(crate) fn exited(code: i32, signal: Option<i32>) -> String {
    let signal = signal.filter(|signal| *signal > 0).or_else(|| (129..=192).contains(&code).then(|| code - 128));
    let cause = match (code, signal) {
        (0, _) => {
            return "The container exited with exit code 0. An agent serves until it is stopped: its process has to wait for \
                    work instead of returning"
                .to_owned();
        }
        (126, _) => "its command exists and cannot be executed: check its permissions".to_owned(),
        (127, _) => "its command, or one that it runs, is not in the image".to_owned(),
        (_, Some(9)) => "it was killed (SIGKILL), as happens when a node runs out of memory".to_owned(),
        (_, Some(11)) => "it crashed (SIGSEGV)".to_owned(),
        (_, Some(6)) => "it aborted (SIGABRT)".to_owned(),
        (_, Some(15)) => "it was terminated (SIGTERM)".to_owned(),
        (_, Some(signal)) => format!("it was ended by signal {signal}"),
        _ => "see the last lines of its log".to_owned(),
    };
    format!("The container ended with exit code {code}: {cause}")
}

/// The restarts of a container that ended, as a sentence to put before the others.
pub(crate) fn restarted(restarts: u32) -> String {
    match restarts {
        0 => String::new(),
        1 => "It was restarted once. ".to_owned(),
        _ => format!("It was restarted {restarts} times. "),
    }
}

/// The node killed the container because its liveness probe failed; `when` is in its words.
pub(crate) fn killed_by_probe(pod: &Pod, code: i32, when: &str) -> Words {
    let ours = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    let probe = ours.and_then(|container| container.liveness.as_ref());
    let words = match probe {
        Some(probe) => question(Words::ours("Its liveness probe ("), probe).and(format!(") failed{when}")),
        None => Words::ours(format!("Its liveness probe failed{when}")),
    };
    // The times of a container that has started: while it starts, it gets its own.
    let words = match probe.filter(|_| when.is_empty()).and_then(|probe| probe.failure_threshold) {
        Some(1) => words.and(" once"),
        Some(times) => words.and(format!(" {times} times in a row")),
        None => words,
    };
    words.and(format!(
        ", so its node killed it (exit code {code}). See why it did not answer in time, or change the probe (`health.liveness`)"
    ))
}

/// A probe that a container which runs does not pass; `said` is what the node says of its last failure.
pub(crate) fn probe_fails(pod: &Pod, is_startup: bool, said: &str) -> Words {
    let ours = pod.spec.as_ref().and_then(|spec| spec.containers.iter().find(|one| one.name == CONTAINER));
    let (name, probe, fails) = match is_startup {
        true => (
            "its liveness probe",
            ours.and_then(|container| container.startup.as_ref().or(container.liveness.as_ref())),
            " has not succeeded since the container started",
        ),
        false => ("its readiness probe", ours.and_then(|container| container.readiness.as_ref()), " fails"),
    };
    let words = match probe {
        Some(probe) => question(Words::ours(format!("{name} (")), probe).and(")"),
        None => Words::ours(name),
    };
    let words = words.and(format!("{fails}, so it is not ready on node ")).theirs(judge::node(pod));
    // `Startup probe failed: ` would name another probe than the one that was asked for.
    let cause = said.split_once(" probe failed").map_or(said, |(_, cause)| cause.trim_start_matches([':', ' ']));
    words.saying(". The node says:", cause)
}

/// The question of a probe: its kind, where it is asked, and how often.
fn question(words: Words, probe: &Probe) -> Words {
    let port = |place: &ProbePlace| match &place.port {
        Some(IntOrString::Int(port)) => port.to_string(),
        Some(IntOrString::String(_)) | None => "?".to_owned(),
    };
    let words = match (&probe.http_get, &probe.tcp_socket, &probe.exec) {
        (Some(place), ..) => {
            let path = place.path.as_deref().unwrap_or("/");
            words.and("HTTP GET of ").theirs(path).and(format!(" at port {}", port(place)))
        }
        (None, Some(place), _) => words.and(format!("TCP connection to port {}", port(place))),
        (None, None, Some(exec)) => words.and("command ").theirs(exec.command.first().map_or("?", String::as_str)),
        (None, None, None) => words.and("of an unknown kind"),
    };
    let seconds = |value: Option<i32>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
    words.and(format!(", every {} s, within {} s", seconds(probe.period_seconds), seconds(probe.timeout_seconds)))
}

pub(crate) const SUSPENDED: &str = "the Job is suspended, by hand or by one of the cluster's queues, and has no pod";
pub(crate) const SCALED_TO_ZERO: &str = "the Job's parallelism was set to 0, by hand or by a tool, so it has no pod";

pub(crate) fn out_of_memory(pod: &Pod) -> Words {
    let ours = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    let limits = ours.and_then(|container| container.resources.as_ref()?.limits.as_ref());
    let words = Words::ours("The container used more memory than its limit");
    let words = match limits.and_then(|limits| limits.memory.as_deref()) {
        Some(limit) => words.and(" of ").theirs(limit),
        None => words,
    };
    words.and(" and was killed (OOMKilled). Raise the limit (resources.memory, `--memory`), or make it use less")
}

/// A container was created, or nearly, and did not start.
pub(crate) fn cannot_run(said: &str, architecture: &str) -> Words {
    let has = |text: &str| said.contains(text);
    let todo = if has("exec format error") {
        format!(
            "its program is for another processor than the node's ({architecture}): build the image with --platform=linux/{architecture}"
        )
    } else if has("secret") && has("not found") {
        "a Secret that it needs was deleted from the namespace and is missing. Deploy again".to_owned()
    } else if has("runAsNonRoot") || has("run as root") {
        "no agent runs as root: give the image a USER with a number other than 0".to_owned()
    } else if has("executable file not found") || has("no such file or directory") {
        "its command is not in the image: check ENTRYPOINT and CMD, and that a script's first line names a shell in the image"
            .to_owned()
    } else if has("permission denied") {
        "its user cannot execute its command: check the permissions in the image".to_owned()
    } else {
        "see what the node says".to_owned()
    };
    Words::ours(format!("The container cannot be started: {todo}")).saying(". The node says:", said)
}

pub(crate) fn wrong_processor(architecture: &str) -> String {
    format!(
        "The container's program is for another processor than the node's ({architecture}): build the image with \
         --platform=linux/{architecture}"
    )
}

/// No node takes the pod; `said` is the scheduler's summary.
pub(crate) fn unschedulable(said: &str, architecture: &str) -> Words {
    let mut todo = Vec::new();
    let mut when = |text: &str, words: String| {
        if said.contains(text) {
            todo.push(words);
        }
    };
    when("no nodes available", "no node of the cluster is up".to_owned());
    when("Insufficient cpu", "too little CPU is free: ask for less (resources.cpu, `--cpu`), or add a node".to_owned());
    when(
        "Insufficient memory",
        "too little memory is free: ask for less (resources.memory, `--memory`), or add a node".to_owned(),
    );
    when(
        "Insufficient ephemeral-storage",
        "too little disk is free: ask for less (resources.ephemeral_storage), or add a node".to_owned(),
    );
    when("Too many pods", "nodes are at their maximum number of pods".to_owned());
    when("untolerated taint", "nodes are tainted, which keeps agents away".to_owned());
    when("were unschedulable", "nodes are closed for maintenance (cordoned)".to_owned());
    when(
        "node affinity/selector",
        format!("nodes do not match: agents here need Linux on {architecture} (the environment's architecture)"),
    );
    let todo = if todo.is_empty() { "see what the scheduler says".to_owned() } else { todo.join("; ") };
    Words::ours(format!("No node can take the pod: {todo}")).saying(". The scheduler says:", said)
}

/// A Job's pod was not created. `None` if the cause may be temporary.
pub(crate) fn no_pod(said: &str) -> Option<Words> {
    let todo = if said.contains("exceeded quota") || said.contains("failed quota") {
        "the namespace's quota does not allow it: stop something, ask for less, or have the quota raised. A quota may also \
         require that resources are set"
    } else if said.contains("PodSecurity") {
        "the namespace's pod security standard does not allow it"
    } else if said.contains("maximum") || said.contains("minimum") {
        "the namespace's limits (LimitRange) do not allow what it asks for"
    } else if said.contains("serviceaccount") && said.contains("not found") {
        "its ServiceAccount is missing: it was deleted. Deploy again"
    } else if said.contains("RuntimeClass") {
        "the cluster has no such runtime class: check the environment's runtime_class"
    } else if said.contains("denied the request") || said.contains("ValidatingAdmissionPolicy") {
        "a rule of the cluster does not allow it"
    } else if said.contains("is forbidden") || said.contains("is invalid") {
        "the cluster does not allow it"
    } else {
        return None;
    };
    Some(Words::ours(format!("The cluster does not create the pod: {todo}")).saying(". It says:", said))
}

pub(crate) fn job_failed(reason: Option<&str>, said: Option<&str>) -> Words {
    let said = said.unwrap_or_default();
    match reason {
        Some("DeadlineExceeded") => Words::ours("The Job exceeded the deadline that was set on it."),
        Some("BackoffLimitExceeded") => Words::ours("The Job's container ended too often."),
        Some(reason) => Words::ours("The Job failed (").theirs(reason).and(").").saying(" The cluster says:", said),
        None => Words::ours("The Job failed.").saying(" The cluster says:", said),
    }
}

/// The cluster ended a pod, and the Job creates another one.
pub(crate) fn pod_was_ended(reason: &str, said: &str) -> Words {
    let words = Words::ours("the cluster ended the pod (").theirs(reason).and(") and is creating another");
    words.saying(". It says:", said)
}

pub(crate) fn ended_by_cluster(reason: &str, said: &str, many: usize) -> Words {
    let todo = match reason {
        "Evicted" if said.contains("EmptyDir volume") => {
            "it wrote more into the volume than its size, which counts whatever its exit code: make it write less, or give the \
             volume a larger size (`--scratch`)"
        }
        "Evicted" if said.contains("ephemeral") || said.contains("disk") || said.contains("storage") => {
            "it used too much disk: make it write less, or raise the limit (resources.ephemeral_storage)"
        }
        "Evicted" => {
            "the node ran out of resources: request what the agent needs (resources), so that it is not evicted first"
        }
        "NodeLost" | "NodeShutdown" | "Terminated" | "Shutdown" => "its node shut down or was lost",
        "Preempting" | "Preempted" => "its node needed the room for something more important",
        "DeadlineExceeded" => "a deadline was set on the pod, by hand or by a tool",
        _ => "see what the node says",
    };
    let times = if many > 1 { format!(", {many} times by now") } else { String::new() };
    let words = Words::ours("The cluster ended the pod (").theirs(reason).and(format!("{times}): {todo}"));
    words.saying(". It says:", said)
}

pub(crate) fn no_sandbox(said: &str, node: &str, no_runtime: bool) -> Words {
    let todo = if no_runtime {
        "the node does not have the runtime class's runtime: check the environment's runtime_class"
    } else {
        "the node cannot create pods: its network plugin or storage may be at fault"
    };
    let words = Words::ours("The pod cannot be created on node ").theirs(node).and(format!(": {todo}"));
    words.saying(". The node says:", said)
}
