//! The steps, one file for each kind. A step may be stopped at any point and repeated: its result is written in one
//! transaction, and only if the deployment is still what it was when the step began.

mod apply;
mod carry;
mod collect;
mod crash;
mod look;
mod observe;
mod remove;
mod watch;
mod write;

use std::sync::Arc;
use std::time::Duration;

use cofferdam_cluster::{AnyCluster, ClusterError, HeldBy, WorkloadId};
use cofferdam_core::now_ms;
use cofferdam_environments::Environment;
use cofferdam_store::{AgentRow, DeploymentRow};
use futures_util::FutureExt;
use tokio::time::Instant;

use super::calls::CallKind;
use super::context::{Call, Context};
use super::mending::Mending;
use super::plan::Action;
use crate::workload::workload_id;
use crate::{Deployments, Error, Timing};

/// One step for one deployment.
pub(super) struct Step {
    pub context: Arc<Context>,
    pub agent: AgentRow,
    /// As it was when the step was planned.
    pub row: DeploymentRow,
    /// Restorations of what was changed by hand.
    pub mending: Mending,
    /// Since when the cluster has not answered for it, in Unix milliseconds.
    pub missed_since: Option<i64>,
}

/// The wait after a step.
#[derive(Debug, Clone, Default)]
pub(super) struct Next {
    /// The same step is not repeated before this time; another one may begin at once.
    pub after: Duration,
    /// Restorations, if this step looked for what was changed by hand.
    pub mending: Option<Mending>,
    /// Since when the cluster has not answered, in Unix milliseconds.
    pub missed_since: Option<i64>,
}

impl Next {
    pub(super) fn now() -> Self {
        Self::default()
    }

    /// The deployment has changed since the step began, or another driver has it.
    pub(super) fn soon() -> Self {
        Self::after(Duration::from_millis(250))
    }

    pub(super) fn after(after: Duration) -> Self {
        Self { after, ..Self::default() }
    }
}

impl Step {
    /// When a step is due, according to the row.
    pub(super) fn due(row: &DeploymentRow, action: Action, now: Instant) -> Instant {
        let waits = match action {
            Action::Apply | Action::Recover | Action::Remove | Action::Carry => true,
            Action::Supersede { .. } | Action::WindDown | Action::Look | Action::Watch | Action::Abandon => false,
        };
        let left = if waits { row.retry_at_ms.saturating_sub(now_ms()) } else { 0 };
        now + Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }

    pub(super) async fn run(self, action: Action) -> Result<Next, Error> {
        match action {
            Action::Supersede { by } => self.supersede(by).await,
            Action::WindDown => self.wind_down().await,
            Action::Carry => self.carry().await,
            Action::Apply => self.apply().await,
            Action::Look => self.look().await,
            Action::Watch => self.watch().await,
            Action::Recover => self.recover().await,
            Action::Remove => self.remove().await,
            Action::Abandon => self.abandon().await,
        }
    }

    fn deployments(&self) -> &Deployments {
        &self.context.deployments
    }

    fn timing(&self) -> &Timing {
        self.context.timing()
    }

    /// It is the version that serves, or that served until its pod was taken away.
    fn serves(&self) -> bool {
        self.agent.serving == self.row.number
    }

    /// The time since the deployment entered its state.
    fn in_state(&self) -> Duration {
        Duration::from_millis(u64::try_from(now_ms().saturating_sub(self.row.since_ms)).unwrap_or(0))
    }

    /// Since when, in this state, nothing but the version itself has kept it from being ready.
    fn own_since(&self) -> Option<i64> {
        self.row.observed.own_since_ms.filter(|since| *since >= self.row.since_ms)
    }

    /// The time that this version had for itself: its clock stands while its cluster holds it up.
    fn own_time(&self, held_by: HeldBy) -> Duration {
        let since = self.own_since().filter(|_| held_by == HeldBy::Itself);
        Duration::from_millis(u64::try_from(since.map_or(0, |since| now_ms().saturating_sub(since))).unwrap_or(0))
    }

    fn workload_id(&self) -> WorkloadId {
        workload_id(&self.row)
    }

    /// The agent's environment as it is now.
    async fn environment(&self) -> Result<Environment, Error> {
        self.deployments().environment_of(&self.agent).await
    }

    /// Calls the environment's cluster within bounded time.
    async fn call<T>(
        &self,
        environment: &Environment,
        call: impl FnOnce(AnyCluster) -> Call<T>,
    ) -> Result<T, ClusterError> {
        self.context.call(&self.agent.organization, environment, CallKind::Short, call).await
    }

    /// Removes everything of the deployment from its cluster, and waits until its pods are gone.
    async fn remove_workload(&self, environment: &Environment) -> Result<(), ClusterError> {
        let id = self.workload_id();
        self.context.logs.drain(&id).await;
        let remove = |cluster: AnyCluster| async move { cluster.remove(&id).await }.boxed();
        self.context.call(&self.agent.organization, environment, CallKind::Waiting, remove).await
    }
}

/// The text of an internal error for a deployment's detail.
pub(crate) fn shown(error: &Error) -> String {
    match (error, error.sealed()) {
        (Error::Refused(problem), _) => problem.detail.clone(),
        (_, Some(why)) => sentence(&why),
        (_, None) => "The environment could not be read; see the server's log.".to_owned(),
    }
}

/// The text with a capital letter first and a full stop last.
pub(crate) fn sentence(text: &str) -> String {
    let mut characters = text.trim().chars();
    let mut sentence: String = characters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    sentence.push_str(characters.as_str());
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

fn serves_in(pod: &str) -> String {
    format!("Serving, in pod {pod}.")
}
