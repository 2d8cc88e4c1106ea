//! Implements `Cluster` for a place without one: says how to configure a cluster. Removing succeeds, because nothing runs.

use futures_util::future::BoxFuture;

use crate::{Cluster, ClusterError, Finding, Lines, Mended, PodName, Seen, Workload, WorkloadId};

#[derive(Debug)]
pub(crate) struct NoCluster {
    why: String,
}

impl NoCluster {
    /// `why` is a sentence.
    pub(crate) fn new(why: &str) -> Self {
        Self { why: why.trim_end_matches('.').to_owned() }
    }

    fn error(&self) -> ClusterError {
        ClusterError::None(format!(
            "{}. Container agents run in a Kubernetes cluster: set KUBECONFIG when the controller starts, run the controller in \
             the cluster, or give the environment a kubeconfig (--kubeconfig of `cofferdam environment create`)",
            self.why
        ))
    }
}

impl Cluster for NoCluster {
    fn apply<'a>(&'a self, _: &'a Workload) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(async { Err(self.error()) })
    }

    fn mend<'a>(&'a self, _: &'a Workload) -> BoxFuture<'a, Result<Vec<Mended>, ClusterError>> {
        Box::pin(async { Err(self.error()) })
    }

    fn see<'a>(&'a self, _: &'a WorkloadId) -> BoxFuture<'a, Result<Seen, ClusterError>> {
        Box::pin(async { Err(self.error()) })
    }

    fn survey(&self) -> BoxFuture<'_, Result<Vec<(WorkloadId, Seen)>, ClusterError>> {
        Box::pin(async { Err(self.error()) })
    }

    fn remove<'a>(&'a self, _: &'a WorkloadId) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(async { Ok(()) })
    }

    fn check(&self) -> BoxFuture<'_, Result<Vec<Finding>, ClusterError>> {
        Box::pin(async { Err(self.error()) })
    }

    fn runtimes(&self) -> BoxFuture<'_, Result<Vec<String>, ClusterError>> {
        Box::pin(async { Err(self.error()) })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<WorkloadId>, ClusterError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn pods<'a>(&'a self, _: &'a WorkloadId) -> BoxFuture<'a, Result<Vec<PodName>, ClusterError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn logs<'a>(&'a self, _: &'a PodName, _: Option<&'a str>) -> BoxFuture<'a, Result<Lines, ClusterError>> {
        Box::pin(async { Err(self.error()) })
    }
}
