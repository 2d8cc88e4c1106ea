//! A workload and its logs' lines, in the terms of this crate's traits.

use std::collections::BTreeMap;

use cofferdam_contract::{AgentId, Health, OrganizationId, PodSettings, Resources};
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
    /// Names of the variables that are known to be secret, whatever their values look like.
    pub secrets: Vec<String>,
    pub resources: Resources,
    /// The image's own user if it is a number other than 0. `None` if it is root, a name, or unknown: the container then
    /// runs as [`NOBODY`], because no agent runs as root.
    pub run_as: Option<u32>,
    pub image_pull_secrets: Vec<String>,
    pub runtime_class: Option<String>,
    /// The deployment's pod settings. The caller has checked that the environment allows them.
    pub pod: PodSettings,
    /// The container's probes. The caller has checked them.
    pub health: Health,
    /// Seconds within which the container must become ready; until then no liveness probe ends it.
    pub start_s: u32,
    /// Seconds after which the cluster deletes an ended Job.
    pub ttl_after_finished_s: u32,
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
