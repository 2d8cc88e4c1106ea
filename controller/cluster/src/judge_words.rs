//! Sentences about a pod: what happened, and what to do. Pure.

use k8s_openapi::api::core::v1::Pod;

use crate::judge;
use crate::names::CONTAINER;
use crate::words::clean;

pub(crate) const POD_IS_GONE: &str =
    "The pod is gone, and its log in the cluster with it; the agent's logs here go back further.";

/// A pod is being deleted while its Job is not.
pub(crate) fn being_replaced(pod: &Pod) -> String {
    let all = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let why = all.iter().find(|condition| condition.type_ == "DisruptionTarget");
    let why = why.and_then(|condition| condition.message.as_deref()).map(clean);
    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
    format!("the pod on node {} is being deleted{why}; another one replaces it", judge::node(pod))
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

pub(crate) fn again_and_again(once: &str, restarts: u32) -> String {
    let times = if restarts == 1 { "once".to_owned() } else { format!("{restarts} times") };
    format!("{once}. It was restarted {times} and ended each time")
}

pub(crate) fn out_of_memory(pod: &Pod) -> String {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let ours = containers.iter().find(|container| container.name == CONTAINER);
    let limits = ours.and_then(|container| container.resources.as_ref()?.limits.as_ref());
    let limit = limits.and_then(|limits| limits.get("memory")).map(|memory| format!(" of {}", clean(&memory.0)));
    format!(
        "The container used more memory than its limit{} and was killed (OOMKilled). Raise the limit (resources.memory), or \
         make it use less",
        limit.unwrap_or_default()
    )
}

/// A container was created, or nearly, and did not start.
pub(crate) fn cannot_run(said: &str, architecture: &str) -> String {
    let said = clean(said);
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
    if said.is_empty() {
        return format!("The container cannot be started: {todo}");
    }
    format!("The container cannot be started: {todo}. The node says: {said}")
}

pub(crate) fn wrong_processor(architecture: &str) -> String {
    format!(
        "The container's program is for another processor than the node's ({architecture}): build the image with \
         --platform=linux/{architecture}"
    )
}

/// No node takes the pod; `said` is the scheduler's summary.
pub(crate) fn unschedulable(said: &str, architecture: &str) -> String {
    let mut todo = Vec::new();
    let mut when = |text: &str, words: String| {
        if said.contains(text) {
            todo.push(words);
        }
    };
    when("no nodes available", "no node of the cluster is up".to_owned());
    when("Insufficient cpu", "too little CPU is free: ask for less (resources.cpu), or add a node".to_owned());
    when("Insufficient memory", "too little memory is free: ask for less (resources.memory), or add a node".to_owned());
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
    format!("No node can take the pod: {todo}. The scheduler says: {said}")
}

/// A Job's pod was not created. `None` if the cause may be temporary.
pub(crate) fn no_pod(said: &str) -> Option<String> {
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
    Some(format!("The cluster does not create the pod: {todo}. It says: {said}"))
}

pub(crate) fn job_failed(reason: Option<&str>, said: Option<&str>) -> String {
    let said = clean(said.unwrap_or_default());
    match reason {
        Some("DeadlineExceeded") => "The Job exceeded the deadline that was set on it.".to_owned(),
        Some("BackoffLimitExceeded") => "The Job's container ended too often.".to_owned(),
        Some(reason) => format!("The Job failed ({}): {said}.", clean(reason)),
        None => format!("The Job failed: {said}."),
    }
}

pub(crate) fn ended_by_cluster(reason: &str, said: &str, many: usize) -> String {
    let todo = match reason {
        "Evicted" if said.contains("ephemeral") || said.contains("disk") || said.contains("storage") => {
            "it used too much disk: make it write less, or raise the limit (resources.ephemeral_storage)"
        }
        "Evicted" => {
            "the node ran out of resources: request what the agent needs (resources), so that it is not evicted first"
        }
        "NodeLost" | "NodeShutdown" | "Terminated" | "Shutdown" => "its node shut down or was lost",
        _ => "see what the node says",
    };
    let times = if many > 1 { format!(", {many} times by now") } else { String::new() };
    format!("The cluster ended the pod ({}{times}): {todo}. It says: {said}", clean(reason))
}

pub(crate) fn no_sandbox(said: &str, node: &str, no_runtime: bool) -> String {
    let todo = if no_runtime {
        "the node does not have the runtime class's runtime: check the environment's runtime_class"
    } else {
        "the node cannot create pods: its network plugin or storage may be at fault"
    };
    format!("The pod cannot be created on node {node}: {todo}. The node says: {said}")
}
