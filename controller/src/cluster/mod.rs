//! Where container agents run: one trait, and Kubernetes behind it. It knows nothing of our database or HTTP API: it is
//! told what is wanted, makes it so, and says what it sees.

mod apply;
mod connect;
mod dial;
mod judge;
mod judge_words;
mod kubeconfig;
mod kubernetes;
mod logs;
mod names;
mod none;
mod objects;
mod see;
mod take_away;
mod wire;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use cofferdam_contract::{AgentId, FailureReason, OrganizationId, Resources};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::config::Secret;

pub use connect::{Clusters, Options};
pub use kubeconfig::decode as decode_kubeconfig;
pub use names::workload_name;
pub use none::NoCluster;

/// One version of one agent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkloadId {
    pub organization: OrganizationId,
    pub agent: AgentId,
    /// The deployment's number.
    pub version: u64,
}

/// What is to run.
#[derive(Debug, Clone)]
pub struct Workload {
    pub id: WorkloadId,
    /// `registry/repository@sha256:...`: never a tag.
    pub image: String,
    /// `amd64` or `arm64`: the nodes that can run it.
    pub architecture: String,
    /// The whole environment, the organization's secrets among it. Goes into a Secret of the workload's own.
    pub env: BTreeMap<String, Secret>,
    pub resources: Resources,
    /// The image's own user where that is a number other than 0. `None` where it is root, a name or not known: the
    /// container then runs as [`NOBODY`], because no agent runs as root.
    pub run_as: Option<u32>,
    pub image_pull_secrets: Vec<String>,
    pub runtime_class: Option<String>,
    /// Seconds after which a Job that ended is taken away by the cluster.
    pub ttl_after_finished_s: u32,
}

/// The user of a container whose image names none that can be checked: `nonroot` of the usual base images.
pub const NOBODY: u32 = 65_532;

/// What the cluster shows of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// There is no such Job: never made, or deleted by somebody.
    Gone,
    /// On its way; what it waits for, in words.
    Starting { waits_for: String },
    /// Its container runs and is ready, for so many seconds without a restart.
    Ready { pod: String, for_s: u64, restarts: u32 },
    /// It will not come up by itself, or ended.
    Failed(Failure),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: FailureReason,
    /// What happened and what to do about it.
    pub detail: String,
    pub exit_code: Option<i32>,
    pub restarts: u32,
    /// The last lines of its log, oldest first. Not redacted yet.
    pub last_lines: Vec<String>,
}

/// One line as the cluster gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawLine {
    /// RFC 3339 with nanoseconds.
    pub time: String,
    pub text: String,
}

/// A pod whose log can be read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodName {
    pub workload: WorkloadId,
    pub pod: String,
    /// Counts the container's restarts: each has a log of its own.
    pub restarts: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is none configured.
    #[error("{0}")]
    None(String),
    /// The settings cannot be: a kubeconfig that does not parse, or asks us to run programs.
    #[error("{0}")]
    Settings(String),
    /// It cannot be reached, or did not answer in time. Worth trying again.
    #[error("{0}")]
    Unreachable(String),
    /// It refused: credentials (401), permissions (403), quota, an object that it does not take (422).
    #[error("{0}")]
    Refused(String),
    /// It changed under us. Worth trying again.
    #[error("{0}")]
    Conflict(String),
}

impl ClusterError {
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Conflict(_))
    }

    /// The same with its words changed.
    fn rewritten(self, change: impl Fn(&str) -> String) -> Self {
        match self {
            Self::None(text) => Self::None(change(&text)),
            Self::Settings(text) => Self::Settings(change(&text)),
            Self::Unreachable(text) => Self::Unreachable(change(&text)),
            Self::Refused(text) => Self::Refused(change(&text)),
            Self::Conflict(text) => Self::Conflict(change(&text)),
        }
    }
}

pub type Lines = BoxStream<'static, Result<RawLine, ClusterError>>;

/// A place that runs containers. Every call ends within bounded time; each is idempotent.
pub trait Cluster: Send + Sync {
    /// Makes everything that the workload needs: Secret, ServiceAccount, NetworkPolicy, Job. Changes nothing where it is
    /// there already.
    fn apply<'a>(&'a self, workload: &'a Workload) -> BoxFuture<'a, Result<(), ClusterError>>;

    fn see<'a>(&'a self, id: &'a WorkloadId) -> BoxFuture<'a, Result<Seen, ClusterError>>;

    /// Takes all of it away and waits until its pods are gone. Nothing to take away is fine.
    fn remove<'a>(&'a self, id: &'a WorkloadId) -> BoxFuture<'a, Result<(), ClusterError>>;

    /// All workloads of ours that are there, for finding drift.
    fn list(&self) -> BoxFuture<'_, Result<Vec<WorkloadId>, ClusterError>>;

    /// The pods of a workload, those that ended among them while the cluster keeps them. A container that was restarted
    /// is there twice: as it is, and as it was before, the last one that the cluster keeps.
    fn pods<'a>(&'a self, id: &'a WorkloadId) -> BoxFuture<'a, Result<Vec<PodName>, ClusterError>>;

    /// A pod's log from `since` (RFC 3339, that very moment included; from its begin where that is none) on, followed
    /// until the container ends; nothing where its log is gone. Lines longer than 64 KiB are cut. Where it ends by an
    /// error that may be tried again, ask again with the time of the last line: also after ten minutes without a line.
    fn logs<'a>(&'a self, pod: &'a PodName, since: Option<&'a str>) -> BoxFuture<'a, Result<Lines, ClusterError>>;
}

/// Shared by those who deploy, reconcile and collect logs.
pub type AnyCluster = Arc<dyn Cluster>;
