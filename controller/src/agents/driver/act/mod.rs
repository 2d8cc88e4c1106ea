//! The steps, one file a kind. Each may be stopped anywhere and done again: what it has found out or done is written in
//! one transaction, and only where the deployment is still what it was when the step began.

mod apply;
mod carry;
mod collect;
mod crash;
mod look;
mod remove;
mod write;

pub use apply::{is_final, safe};

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::places::Places;
use super::plan::Action;
use crate::Error;
use crate::clock::now_ms;
use crate::cluster::{AnyCluster, ClusterError};
use crate::environments::{self, Environment};
use crate::services::App;
use crate::store::{AgentRow, DeploymentRow};

/// What a step works on.
#[derive(Clone)]
pub struct Act {
    pub app: App,
    /// Who holds the agent's lease.
    pub owner: String,
    pub places: Arc<Places>,
    pub agent: AgentRow,
    /// As it was when the step was planned.
    pub row: DeploymentRow,
    pub unready: Option<Instant>,
}

/// What comes after a step.
#[derive(Debug, Clone, Default)]
pub struct Next {
    /// The same step is not done again before; another one may be.
    pub after: Duration,
    pub unready: Option<Instant>,
}

impl Next {
    pub fn now() -> Self {
        Self::default()
    }

    /// It is not what it was any more, or not ours.
    pub fn soon() -> Self {
        Self::after(Duration::from_millis(250))
    }

    pub fn after(after: Duration) -> Self {
        Self { after, unready: None }
    }
}

/// One question to a cluster, on its way.
type Call<T> = BoxFuture<'static, Result<T, ClusterError>>;

impl Act {
    /// When a step is due, as far as the row says.
    pub fn due(row: &DeploymentRow, action: Action, now: Instant) -> Instant {
        let waits = matches!(action, Action::Apply | Action::Recover | Action::Remove | Action::Carry);
        let left = if waits { row.retry_at_ms.saturating_sub(now_ms()) } else { 0 };
        now + Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }

    /// The agent's environment, as it is now.
    async fn environment(&self) -> Result<Environment, Error> {
        environments::find(&self.app, &self.agent.organization, &self.agent.environment).await
    }

    /// A call of the cluster: with a place among those of its environment, and within bounded time.
    async fn call<T>(
        &self,
        environment: &Environment,
        call: impl FnOnce(AnyCluster) -> Call<T>,
    ) -> Result<T, ClusterError> {
        self.placed(environment, false, call).await
    }

    /// Takes everything of the deployment away, which waits for its pods to end.
    async fn take_away(&self, environment: &Environment) -> Result<(), ClusterError> {
        let id = apply::workload_id(&self.row);
        self.app.logs.drain(&id).await;
        self.placed(environment, true, |cluster| async move { cluster.remove(&id).await }.boxed()).await
    }

    async fn placed<T>(
        &self,
        environment: &Environment,
        waits: bool,
        call: impl FnOnce(AnyCluster) -> Call<T>,
    ) -> Result<T, ClusterError> {
        let _place = self.places.place(&self.agent.organization, &environment.name, waits).await;
        let most = self.app.config.agents.timing.call;
        let whole = async {
            let cluster = self.app.agents.connect(environment).await?;
            call(cluster).await
        };
        let silent = |_| ClusterError::Unreachable(format!("the cluster did not answer within {} s", most.as_secs()));
        tokio::time::timeout(most, whole).await.map_err(silent)?
    }
}

pub async fn act(act: Act, action: Action) -> Result<Next, Error> {
    match action {
        Action::Supersede { by } => write::supersede(&act, by).await,
        Action::WindDown => write::wind_down(&act).await,
        Action::Carry => carry::carry(&act).await,
        Action::Apply => apply::apply(&act).await,
        Action::Look => look::look(&act).await,
        Action::Watch => look::watch(&act).await,
        Action::Recover => crash::recover(&act).await,
        Action::Remove => remove::remove(&act).await,
    }
}
