//! The parts of an API server's answers that are read. Everything else in an answer is passed over and takes no memory, and
//! every list has a bound, so that a hostile answer takes little more memory than its bytes. Never sent.

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;

use crate::few::{self, Few, FewPairs, Picked};

/// The longest name of an object, and the longest value that is made of one.
const MAX_NAME: usize = 253;
const MAX_UID: usize = 64;
/// The longest value of a label, of a quantity or of a phase.
const MAX_LABEL: usize = 63;
/// The longest reason and message of a condition, by the API's own rule.
const MAX_REASON: usize = 1_024;
const MAX_MESSAGE: usize = 32_768;
/// Conditions that are read of one object.
const MAX_CONDITIONS: usize = 8;
/// Containers of one pod that are read: the agent's, and others that are not ready.
const MAX_STATUSES: usize = 8;
/// Words of a command; more than a deployment may have.
const MAX_ARGUMENTS: usize = 1_024;
/// Labels of one object, and managers of its fields.
pub(crate) const MAX_LABELS: usize = 1_024;
/// Entries of a Secret: the variables of one workload.
const MAX_ENTRIES: usize = 4_096;
/// Elements of one page. A server that knows no pages sends more than the page that was asked for.
pub(crate) const MAX_ITEMS: usize = 512;

/// A page of a list.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
pub(crate) struct List<T> {
    #[serde(default)]
    pub metadata: ListMeta,
    #[serde(default)]
    pub items: Few<T, MAX_ITEMS>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct ListMeta {
    /// Leads to the next page.
    #[serde(rename = "continue")]
    pub next: Option<String>,
}

/// A refusal.
#[derive(Debug, Deserialize)]
pub(crate) struct Status {
    /// There in every refusal of an API server, and in no other document.
    #[serde(rename = "status")]
    pub outcome: Option<String>,
    #[serde(default)]
    pub message: Option<String>,
}

/// The annotations that we write.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Marks {
    #[serde(rename = "cofferdam.dev/organization")]
    #[serde(default, deserialize_with = "few::short::<MAX_NAME, _>")]
    pub organization: Option<String>,
    #[serde(rename = "cofferdam.dev/agent")]
    #[serde(default, deserialize_with = "few::short::<MAX_NAME, _>")]
    pub agent: Option<String>,
    #[serde(rename = "cofferdam.dev/version")]
    #[serde(default, deserialize_with = "few::short::<MAX_NAME, _>")]
    pub version: Option<String>,
    #[serde(rename = "cofferdam.dev/default-probe")]
    pub default_probe: Option<IgnoredAny>,
}

/// The label that tells whose pod it is.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Labels {
    #[serde(rename = "cofferdam.dev/workload")]
    #[serde(default, deserialize_with = "few::short::<MAX_LABEL, _>")]
    pub workload: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Meta {
    #[serde(default, deserialize_with = "few::short::<MAX_NAME, _>")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "few::short::<MAX_UID, _>")]
    pub uid: Option<String>,
    pub annotations: Option<Marks>,
    pub labels: Option<Labels>,
    pub creation_timestamp: Option<Time>,
    pub deletion_timestamp: Option<Time>,
}

/// An object of which only the metadata counts.
#[derive(Debug, Deserialize)]
pub(crate) struct Named {
    pub metadata: Meta,
}

/// An object of which only the version counts.
#[derive(Debug, Deserialize)]
pub(crate) struct Versioned {
    pub metadata: VersionMeta,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VersionMeta {
    pub resource_version: Option<String>,
}

/// Not for showing: it holds the values.
#[derive(Deserialize)]
pub(crate) struct Secret {
    #[serde(default)]
    pub metadata: SecretMeta,
    pub immutable: Option<bool>,
    #[serde(default)]
    pub data: FewPairs<ByteString, MAX_ENTRIES>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SecretMeta {
    pub managed_fields: Few<Managed, MAX_LABELS>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Managed {
    #[serde(default, deserialize_with = "few::short::<MAX_NAME, _>")]
    pub manager: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Review {
    pub status: ReviewStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ReviewStatus {
    pub allowed: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Job {
    #[serde(default)]
    pub metadata: JobMeta,
    pub spec: Option<JobSpec>,
    pub status: Option<JobStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct JobMeta {
    #[serde(default, deserialize_with = "few::short::<MAX_NAME, _>")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "few::short::<MAX_UID, _>")]
    pub uid: Option<String>,
    /// As they came: only few Jobs have theirs looked at.
    pub labels: Option<Box<RawValue>>,
    pub annotations: Option<Marks>,
    pub deletion_timestamp: Option<Time>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct JobSpec {
    pub suspend: Option<bool>,
    pub parallelism: Option<i32>,
    pub completions: Option<i32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct JobStatus {
    pub conditions: Picked<Condition, MAX_CONDITIONS>,
}

/// A condition of a Job or of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    #[serde(default, deserialize_with = "few::short_text::<MAX_NAME, _>")]
    pub kind: String,
    #[serde(default, deserialize_with = "few::short_text::<MAX_NAME, _>")]
    pub status: String,
    #[serde(default, deserialize_with = "few::short::<MAX_REASON, _>")]
    pub reason: Option<String>,
    #[serde(default, deserialize_with = "few::short::<MAX_MESSAGE, _>")]
    pub message: Option<String>,
    pub last_transition_time: Option<Time>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Pod {
    #[serde(default)]
    pub metadata: Meta,
    pub spec: Option<PodSpec>,
    pub status: Option<PodStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PodSpec {
    #[serde(default, deserialize_with = "few::short::<MAX_NAME, _>")]
    pub node_name: Option<String>,
    pub node_selector: Option<NodeSelector>,
    pub containers: Picked<Container, 1>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NodeSelector {
    #[serde(rename = "kubernetes.io/arch")]
    #[serde(default, deserialize_with = "few::short::<MAX_LABEL, _>")]
    pub architecture: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Container {
    #[serde(default, deserialize_with = "few::short_text::<MAX_NAME, _>")]
    pub name: String,
    pub resources: Option<Resources>,
    #[serde(rename = "livenessProbe")]
    pub liveness: Option<Probe>,
    #[serde(rename = "readinessProbe")]
    pub readiness: Option<Probe>,
    /// The liveness probe's question, while the container starts.
    #[serde(rename = "startupProbe")]
    pub startup: Option<Probe>,
}

/// A question that a node asks a container, and when its failure counts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Probe {
    pub http_get: Option<ProbePlace>,
    pub tcp_socket: Option<ProbePlace>,
    pub exec: Option<ProbeCommand>,
    pub period_seconds: Option<i32>,
    pub timeout_seconds: Option<i32>,
    pub failure_threshold: Option<i32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProbePlace {
    /// We write numbers only.
    pub port: Option<IntOrString>,
    pub path: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProbeCommand {
    pub command: Few<String, MAX_ARGUMENTS>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Resources {
    pub limits: Option<Limits>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Limits {
    #[serde(default, deserialize_with = "few::short::<MAX_LABEL, _>")]
    pub memory: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PodStatus {
    #[serde(default, deserialize_with = "few::short::<MAX_LABEL, _>")]
    pub phase: Option<String>,
    #[serde(default, deserialize_with = "few::short::<MAX_REASON, _>")]
    pub reason: Option<String>,
    #[serde(default, deserialize_with = "few::short::<MAX_MESSAGE, _>")]
    pub message: Option<String>,
    pub conditions: Picked<Condition, MAX_CONDITIONS>,
    pub container_statuses: Picked<ContainerStatus, MAX_STATUSES>,
    pub init_container_statuses: Picked<InitStatus, MAX_STATUSES>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ContainerStatus {
    #[serde(default, deserialize_with = "few::short_text::<MAX_NAME, _>")]
    pub name: String,
    pub ready: bool,
    /// Its startup probe has succeeded, or it has none.
    pub started: Option<bool>,
    pub restart_count: i32,
    pub state: Option<State>,
    pub last_state: Option<State>,
    #[serde(rename = "containerID")]
    #[serde(default, deserialize_with = "few::short::<MAX_NAME, _>")]
    pub container_id: Option<String>,
}

/// The state of a container that the cluster adds to a pod, to run before the agent's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct InitStatus(pub ContainerStatus);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    pub waiting: Option<Waiting>,
    pub running: Option<Running>,
    pub terminated: Option<Terminated>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Waiting {
    #[serde(default, deserialize_with = "few::short::<MAX_REASON, _>")]
    pub reason: Option<String>,
    #[serde(default, deserialize_with = "few::short::<MAX_MESSAGE, _>")]
    pub message: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Running {
    pub started_at: Option<Time>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Terminated {
    pub exit_code: i32,
    pub signal: Option<i32>,
    #[serde(default, deserialize_with = "few::short::<MAX_REASON, _>")]
    pub reason: Option<String>,
    #[serde(default, deserialize_with = "few::short::<MAX_MESSAGE, _>")]
    pub message: Option<String>,
    pub finished_at: Option<Time>,
    #[serde(rename = "containerID")]
    #[serde(default, deserialize_with = "few::short::<MAX_NAME, _>")]
    pub container_id: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Event {
    #[serde(default, deserialize_with = "few::short::<MAX_REASON, _>")]
    pub reason: Option<String>,
    #[serde(default, deserialize_with = "few::short::<MAX_MESSAGE, _>")]
    pub message: Option<String>,
    pub series: Option<Series>,
    pub last_timestamp: Option<Time>,
    pub event_time: Option<MicroTime>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Series {
    pub last_observed_time: Option<MicroTime>,
}

impl ContainerStatus {
    pub(crate) fn restarts(&self) -> u32 {
        u32::try_from(self.restart_count).unwrap_or(0)
    }
}

impl JobMeta {
    /// The labels, if there are no more than any Job has.
    pub(crate) fn labels(&self) -> Option<FewPairs<String, MAX_LABELS>> {
        serde_json::from_str(self.labels.as_ref()?.get()).ok()
    }
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
