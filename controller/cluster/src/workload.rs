//! A workload, its state, and its logs' lines, in the terms of this crate's traits.

use std::collections::BTreeMap;

use cofferdam_contract::{AgentId, FailureReason, OrganizationId, Resources};
use cofferdam_core::Secret;

/// The user of a container whose image names no numeric one: `nonroot` of the common base images.
pub const NOBODY: u32 = 65_532;

/// One version of one agent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkloadId {
    pub organization: OrganizationId,
    pub agent: AgentId,
    /// The deployment's number.
    pub version: u64,
}

/// A container to run.
#[derive(Debug, Clone)]
pub struct Workload {
    pub id: WorkloadId,
    /// `registry/repository@sha256:...`, never a tag.
    pub image: String,
    /// `amd64` or `arm64`: selects the nodes that can run it.
    pub architecture: String,
    /// All environment variables, including the organization's secrets. They are stored in a Secret of the workload.
    pub env: BTreeMap<String, Secret>,
    pub resources: Resources,
    /// The image's own user if it is a number other than 0. `None` if it is root, a name, or unknown: the container then
    /// runs as [`NOBODY`], because no agent runs as root.
    pub run_as: Option<u32>,
    pub image_pull_secrets: Vec<String>,
    pub runtime_class: Option<String>,
    /// Seconds after which the cluster deletes an ended Job.
    pub ttl_after_finished_s: u32,
}

/// A workload's state in its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The Job does not exist: it was never created, or was deleted.
    Gone,
    /// The workload is starting; `waits_for` describes the current step.
    Starting { waits_for: String },
    /// The container has been running and ready for `for_s` seconds since its last restart.
    Ready { pod: String, for_s: u64, restarts: u32 },
    /// The workload ended, or cannot start without a change.
    Failed(WorkloadFailure),
}

/// The reason why a workload does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadFailure {
    pub reason: FailureReason,
    /// The cause and the fix, for people.
    pub detail: String,
    pub exit_code: Option<i32>,
    pub restarts: u32,
    /// The last lines of the log, oldest first. Not redacted yet.
    pub last_lines: Vec<String>,
}

/// One log line as the cluster returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawLine {
    /// RFC 3339 with nanoseconds.
    pub time: String,
    pub text: String,
}

/// A container whose log can be read: a pod, and one of its restarts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodName {
    pub workload: WorkloadId,
    pub pod: String,
    /// The number of restarts before this container. Each has a log of its own.
    pub restarts: u32,
}
