//! State and services that the driver shares with its keepers and their steps.

use std::sync::Arc;

use cofferdam_cluster::{AnyCluster, ClusterError};
use cofferdam_contract::OrganizationId;
use cofferdam_environments::Environment;
use cofferdam_logs::Logs;
use cofferdam_store::Store;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::calls::{CallKind, ClusterCalls};
use super::lease::Lease;
use super::survey::Surveys;
use crate::{Deployments, Timing};

pub(super) struct Context {
    pub deployments: Arc<Deployments>,
    pub logs: Arc<Logs>,
    pub lease: Lease,
    pub calls: ClusterCalls,
    pub surveys: Surveys,
}

/// One call to a cluster, under way.
pub(super) type Call<T> = BoxFuture<'static, Result<T, ClusterError>>;

impl Context {
    pub(super) fn store(&self) -> &Store {
        &self.deployments.store
    }

    pub(super) fn timing(&self) -> &Timing {
        &self.deployments.config.timing
    }

    /// # Errors
    /// [`ClusterError::Settings`].
    pub(super) fn connect(&self, environment: &Environment) -> Result<AnyCluster, ClusterError> {
        self.deployments.environments.connect(environment)
    }

    /// Calls an environment's cluster, once a permit is free, within bounded time.
    pub(super) async fn call<T>(
        &self,
        organization: &OrganizationId,
        environment: &Environment,
        kind: CallKind,
        call: impl FnOnce(AnyCluster) -> Call<T>,
    ) -> Result<T, ClusterError> {
        let _permit = self.calls.begin(organization, &environment.name, kind).await;
        let most = self.timing().call;
        let silent =
            |_| ClusterError::Unreachable(format!("the cluster did not answer within {} s", most.as_secs()).into());
        timeout(most, call(self.connect(environment)?)).await.map_err(silent)?
    }
}
