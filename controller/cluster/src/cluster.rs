//! The traits that other crates use: one cluster, and the connections to all of them.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::{ClusterError, Mended, Place, PodName, RawLine, Seen, Workload, WorkloadId};

/// A cluster that is shared by the driver, the reconciler and the log collector.
pub type AnyCluster = Arc<dyn Cluster>;

/// A log while it is written.
pub type Lines = BoxStream<'static, Result<RawLine, ClusterError>>;

/// One thing that was found out about a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `cluster`, `namespace`, or the resource that the rights are for.
    pub about: String,
    pub good: bool,
    /// The finding, and what to do about it if it is bad; a sentence.
    pub detail: String,
}

/// A cluster that runs containers. Every call ends within bounded time, and every call is idempotent.
pub trait Cluster: Send + Sync {
    /// Creates the workload's Secret, ServiceAccount, NetworkPolicy and Job. Objects that exist already are not changed; a
    /// Job that is over is replaced.
    fn apply<'a>(&'a self, workload: &'a Workload) -> BoxFuture<'a, Result<(), ClusterError>>;

    /// Restores what was deleted or changed by hand of a workload that runs, except its Job, whose absence [`Self::see`]
    /// reports. Returns what it restored.
    fn mend<'a>(&'a self, workload: &'a Workload) -> BoxFuture<'a, Result<Vec<Mended>, ClusterError>>;

    /// Reports a workload's state.
    fn see<'a>(&'a self, id: &'a WorkloadId) -> BoxFuture<'a, Result<Seen, ClusterError>>;

    /// Reports at once what [`Self::see`] would of those workloads that are ready and have been for a while. A survey says
    /// nothing of the others, nor how a container ended.
    fn survey(&self) -> BoxFuture<'_, Result<Vec<(WorkloadId, Seen)>, ClusterError>>;

    /// Deletes a workload's objects and waits until its pods are gone. Succeeds when there is nothing to delete.
    fn remove<'a>(&'a self, id: &'a WorkloadId) -> BoxFuture<'a, Result<(), ClusterError>>;

    /// Asks whether the cluster accepts our credentials and gives them the rights that the other calls need. Changes
    /// nothing. An error says that the cluster could not be asked at all.
    fn check(&self) -> BoxFuture<'_, Result<Vec<Finding>, ClusterError>>;

    /// Lists the container runtimes of the nodes, such as `containerd://2.1.9`; an empty one for a node that does not report
    /// it. Needs a right that agents do without: to list nodes.
    fn runtimes(&self) -> BoxFuture<'_, Result<Vec<String>, ClusterError>>;

    /// Lists our workloads, to find drift.
    fn list(&self) -> BoxFuture<'_, Result<Vec<WorkloadId>, ClusterError>>;

    /// Lists a workload's pods, including ended ones that the cluster still keeps. A restarted container is listed twice:
    /// the running one, and the previous one, whose log the cluster still has.
    fn pods<'a>(&'a self, id: &'a WorkloadId) -> BoxFuture<'a, Result<Vec<PodName>, ClusterError>>;

    /// Follows a pod's log until its container ends, from `since` on (RFC 3339, inclusive) or from the beginning. The
    /// stream is empty if the log is gone. Lines are cut at 64 KiB. After a retryable error, or ten minutes without a
    /// line, call again with the time of the last line.
    fn logs<'a>(&'a self, pod: &'a PodName, since: Option<&'a str>) -> BoxFuture<'a, Result<Lines, ClusterError>>;
}

/// Connects to clusters.
pub trait Clusters: Send + Sync {
    /// Returns the cluster of a place. Opens no connection: the first call on the cluster does.
    ///
    /// # Errors
    /// [`ClusterError::Settings`] if the place's settings are invalid.
    fn connect(&self, place: &Place<'_>) -> Result<AnyCluster, ClusterError>;

    /// The objects that [`Cluster::apply`] would send for a workload, without the values of its variables. Asks no
    /// cluster.
    ///
    /// # Errors
    /// [`ClusterError::Refused`] for a workload that no cluster takes.
    fn manifests(&self, namespace: &str, workload: &Workload) -> Result<Vec<serde_json::Value>, ClusterError>;

    /// Checks a caller's kubeconfig before it is stored.
    ///
    /// # Errors
    /// [`ClusterError::Settings`] that says what to change.
    fn check_kubeconfig(&self, yaml: &str, context: Option<&str>) -> Result<(), ClusterError>;
}
