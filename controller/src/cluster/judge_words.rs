//! Words for what a cluster says about a pod: what happened, in a sentence, and what to do. Pure.

use k8s_openapi::api::core::v1::Pod;

use super::judge;
use super::names::CONTAINER;
use super::words::clean;

pub(super) const POD_IS_GONE: &str =
    "Its pod is gone, and its log with it, as far as the cluster goes: the agent's logs here go back further.";

/// What a failed pull means.
pub(super) struct Pull {
    pub words: String,
    /// It will not pass by itself.
    pub for_good: bool,
}

/// A pod that is on its way out while its Job is not.
pub(super) fn being_replaced(pod: &Pod) -> String {
    let all = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let why = all.iter().find(|condition| condition.type_ == "DisruptionTarget");
    let why = why.and_then(|condition| condition.message.as_deref()).map(clean);
    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
    format!(
        "its pod on node {} is being ended by somebody or by the cluster{why}; another one comes then",
        judge::node(pod)
    )
}

/// A container that ended, by its status.
pub(super) fn exited(code: i32, signal: Option<i32>) -> String {
    let signal = signal.filter(|signal| *signal > 0).or_else(|| (129..=192).contains(&code).then(|| code - 128));
    let what = match (code, signal) {
        (0, _) => {
            return "The container ended by itself with exit code 0. An agent serves until it is stopped: let its process wait \
                    for work and not return"
                .to_owned();
        }
        (126, _) => "its command is there and cannot be executed: see its permissions".to_owned(),
        (127, _) => "its command, or one that it calls, is not in the image".to_owned(),
        (_, Some(9)) => "it was killed (SIGKILL), as happens when a node runs out of memory".to_owned(),
        (_, Some(11)) => "it crashed (SIGSEGV)".to_owned(),
        (_, Some(6)) => "it aborted (SIGABRT)".to_owned(),
        (_, Some(15)) => "it was asked to end (SIGTERM)".to_owned(),
        (_, Some(signal)) => format!("it ended by signal {signal}"),
        _ => "see the last lines of its log".to_owned(),
    };
    format!("The container ended with exit code {code}: {what}")
}

pub(super) fn again_and_again(once: &str, restarts: u32) -> String {
    let times = if restarts == 1 { "once".to_owned() } else { format!("{restarts} times") };
    format!("{once}. It was restarted {times} and ended each time")
}

pub(super) fn out_of_memory(pod: &Pod) -> String {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let ours = containers.iter().find(|container| container.name == CONTAINER);
    let limits = ours.and_then(|container| container.resources.as_ref()?.limits.as_ref());
    let limit = limits.and_then(|limits| limits.get("memory")).map(|memory| format!(" of {}", clean(&memory.0)));
    format!(
        "The container used more memory than its limit{} and was killed (OOMKilled). Give it more (resources.memory), or let it \
         use less",
        limit.unwrap_or_default()
    )
}

/// A container that was made, or nearly, and did not come to run.
pub(super) fn cannot_run(said: &str, architecture: &str) -> String {
    let said = clean(said);
    let has = |text: &str| said.contains(text);
    let todo = if has("exec format error") {
        format!(
            "its program is for another processor than the node's ({architecture}): build the image with --platform=linux/{architecture}"
        )
    } else if has("secret") && has("not found") {
        "a Secret that it needs is missing in the namespace: somebody deleted it. Deploy again".to_owned()
    } else if has("runAsNonRoot") || has("run as root") {
        "no agent runs as root: give the image a USER with a number other than 0".to_owned()
    } else if has("executable file not found") || has("no such file or directory") {
        "its command is not in the image: see ENTRYPOINT and CMD, and that a script's first line names a shell that is there"
            .to_owned()
    } else if has("permission denied") {
        "its command cannot be executed by its user: see the permissions in the image".to_owned()
    } else {
        "see what the node says".to_owned()
    };
    if said.is_empty() {
        return format!("The container cannot be started: {todo}");
    }
    format!("The container cannot be started: {todo}. The node says: {said}")
}

pub(super) fn wrong_processor(architecture: &str) -> String {
    format!(
        "The container's program is for another processor than the node's ({architecture}): build the image with \
         --platform=linux/{architecture}"
    )
}

/// A node's words without the image's name and addresses, which may be called anything.
fn without_names(text: &str) -> String {
    let unquoted: Vec<&str> = text.split('"').step_by(2).collect();
    let words: Vec<&str> =
        unquoted.iter().flat_map(|part| part.split(' ')).filter(|word| !word.contains('/')).collect();
    words.join(" ")
}

/// An image that a node cannot pull, with the registry's own words.
pub(super) fn pull(reason: &str, said: &str, architecture: &str) -> Pull {
    let said = clean(said);
    let low = without_names(&said.to_lowercase());
    let word = |word: &str| low.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part == word);
    let any = |texts: &[&str]| texts.iter().any(|text| low.contains(text));
    let (todo, for_good) = if reason == "InvalidImageName" {
        ("its name is not one of an image".to_owned(), true)
    } else if any(&["http response to https client"]) {
        (
            "the registry speaks plain HTTP and the node insists on HTTPS: have the node's container runtime told so for this \
             registry (containerd: certs.d/HOST/hosts.toml), or give the registry a certificate"
                .to_owned(),
            true,
        )
    } else if any(&["x509", "certificate", "tls: "]) {
        (
            "the node does not trust the registry's certificate: have its authority installed on the nodes (containerd: \
             certs.d/HOST/hosts.toml)"
                .to_owned(),
            true,
        )
    } else if any(&["no match for platform", "no matching manifest", "exec format error"]) {
        (
            format!("it has no variant for the node's processor ({architecture}): build it for linux/{architecture}"),
            true,
        )
    } else if any(&["toomanyrequests", "rate limit"]) || word("429") {
        ("the registry lets the node pull only so much: wait, or pull with credentials".to_owned(), false)
    } else if any(&["unauthorized", "authentication required", "no basic auth", "denied", "forbidden"])
        || word("401")
        || word("403")
    {
        (
            "the registry does not let the node in: name a pull secret of the namespace in the environment \
             (image_pull_secrets), with credentials that are right and not expired"
                .to_owned(),
            true,
        )
    } else if any(&["not found", "manifest unknown", "name unknown", "does not exist"]) || word("404") {
        (
            "the registry has no such image under the name that nodes use: see the environment's pull_repository, and whether the \
             registry's garbage collection took it"
                .to_owned(),
            true,
        )
    } else if any(&["no such host", "name resolution", "server misbehaving"]) {
        (
            "the node does not know the registry's name: name one in the environment that nodes know (pull_repository)"
                .to_owned(),
            true,
        )
    } else if any(&["timeout", "connection refused", "no route to host", "unreachable", "deadline exceeded"])
        || word("eof")
    {
        ("the node does not reach the registry: is it up, and does a firewall let nodes through?".to_owned(), false)
    } else if any(&["no space left"]) {
        ("the node has no space left for it".to_owned(), false)
    } else {
        ("see what the node says".to_owned(), false)
    };
    let node = if said.is_empty() { String::new() } else { format!(". The node says: {said}") };
    Pull { words: format!("The image cannot be pulled ({reason}): {todo}{node}"), for_good }
}

/// A pod for which there is no node, out of the scheduler's summary.
pub(super) fn unschedulable(said: &str, architecture: &str) -> String {
    let mut todo = Vec::new();
    let mut when = |text: &str, words: String| {
        if said.contains(text) {
            todo.push(words);
        }
    };
    when("no nodes available", "the cluster has no node that is up".to_owned());
    when("Insufficient cpu", "too little CPU is free: ask for less (resources.cpu), or add a node".to_owned());
    when("Insufficient memory", "too little memory is free: ask for less (resources.memory), or add a node".to_owned());
    when(
        "Insufficient ephemeral-storage",
        "too little disk is free: ask for less (resources.ephemeral_storage), or add a node".to_owned(),
    );
    when("Too many pods", "nodes have as many pods as they may".to_owned());
    when("untolerated taint", "nodes are tainted, which keeps agents off them".to_owned());
    when("were unschedulable", "nodes are closed for maintenance (cordoned)".to_owned());
    when(
        "node affinity/selector",
        format!("nodes are of another kind: agents here need Linux on {architecture} (the environment's architecture)"),
    );
    let todo = if todo.is_empty() { "see what the scheduler says".to_owned() } else { todo.join("; ") };
    format!("No node can take the pod: {todo}. The scheduler says: {said}")
}

/// Why a Job's pod was not made, where that will not pass by itself.
pub(super) fn no_pod(said: &str) -> Option<String> {
    let todo = if said.contains("exceeded quota") || said.contains("failed quota") {
        "the namespace's quota does not allow it: stop something, ask for less, or have the quota raised. A quota may also ask \
         that resources are named"
    } else if said.contains("PodSecurity") {
        "the namespace's pod security standard does not allow it"
    } else if said.contains("maximum") || said.contains("minimum") {
        "the namespace's limits (LimitRange) do not allow what it asks for"
    } else if said.contains("serviceaccount") && said.contains("not found") {
        "its ServiceAccount is missing: somebody deleted it. Deploy again"
    } else if said.contains("RuntimeClass") {
        "the cluster has no such runtime class: see the environment's runtime_class"
    } else if said.contains("denied the request") || said.contains("ValidatingAdmissionPolicy") {
        "a rule of the cluster does not allow it"
    } else if said.contains("is forbidden") || said.contains("is invalid") {
        "the cluster does not allow it"
    } else {
        return None;
    };
    Some(format!("The cluster does not make the pod: {todo}. It says: {said}"))
}

pub(super) fn job_failed(reason: Option<&str>, said: Option<&str>) -> String {
    let said = clean(said.unwrap_or_default());
    match reason {
        Some("DeadlineExceeded") => "The Job ran longer than a deadline that somebody gave it.".to_owned(),
        Some("BackoffLimitExceeded") => "The Job's container ended too often.".to_owned(),
        Some(reason) => format!("The Job failed ({}): {said}.", clean(reason)),
        None => format!("The Job failed: {said}."),
    }
}

pub(super) fn ended_by_cluster(reason: &str, said: &str, many: usize) -> String {
    let todo = match reason {
        "Evicted" if said.contains("ephemeral") || said.contains("disk") || said.contains("storage") => {
            "it used too much disk: let it write less, or give it more (resources.ephemeral_storage)"
        }
        "Evicted" => "the node ran short: give it what it needs (resources), so that it is not the first to go",
        "NodeLost" | "NodeShutdown" | "Terminated" | "Shutdown" => "its node went away",
        _ => "see what the node says",
    };
    let times = if many > 1 { format!(", {many} times by now") } else { String::new() };
    format!("The cluster ended the pod ({}{times}): {todo}. It says: {said}", clean(reason))
}

pub(super) fn no_sandbox(said: &str, node: &str, no_runtime: bool) -> String {
    let todo = if no_runtime {
        "the node does not have the runtime class's runtime: see the environment's runtime_class"
    } else {
        "the node cannot make pods: its network plugin or storage may be at fault"
    };
    format!("The pod cannot be made on node {node}: {todo}. The node says: {said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image may be called as an error is, and a digest has all numbers in it.
    #[test]
    fn names_of_images_are_not_taken_for_errors() {
        let name = "r.example:5000/certificate/unauthorized-denied@sha256:401403404429";
        for (said, says) in [
            (format!("Failed to pull image \"{name}\": dial tcp 10.0.0.5:443: i/o timeout"), "does not reach"),
            (format!("failed to resolve {name}: {name}: not found"), "no such image"),
            (format!("Head \"https://{name}\": x509: certificate signed by unknown authority"), "does not trust"),
            (format!("Failed to pull \"{name}\": unexpected status code 403"), "does not let the node in"),
            (format!("Failed to pull \"{name}\": EOF"), "does not reach"),
            (format!("Failed to pull \"{name}\": something else"), "see what the node says"),
        ] {
            let words = pull("ErrImagePull", &said, "amd64").words;
            assert!(words.contains(says), "{said}: {words}");
        }
    }
}
