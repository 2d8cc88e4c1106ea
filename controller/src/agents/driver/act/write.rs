//! How a step writes what it has come to.

use cofferdam_contract::{DeploymentState as State, FailureReason};

use super::{Act, Next};
use crate::Error;
use crate::agents::ask::enter;
use crate::agents::tell_listeners;
use crate::clock::now_ms;
use crate::store::{AgentChange, DeploymentRow};

/// Why a deployment did not come up, or does not serve any more.
#[derive(Debug, Clone, Default)]
pub struct Failed {
    pub reason: Option<FailureReason>,
    pub detail: String,
    pub exit_code: Option<i32>,
    pub last_lines: Vec<String>,
}

impl Failed {
    pub fn new(reason: FailureReason, detail: impl Into<String>) -> Self {
        Self { reason: Some(reason), detail: detail.into(), exit_code: None, last_lines: Vec::new() }
    }

    pub fn note(self, row: &mut DeploymentRow) {
        row.reason = self.reason;
        row.exit_code = self.exit_code;
        row.last_lines = self.last_lines;
        row.detail = self.detail;
    }
}

impl Act {
    /// The agent and the deployment, taken for a change; none where they are not what they were when the step began, or
    /// somebody else's now: then what the step has found out is worth nothing, and the next plan decides.
    pub async fn take(&self) -> Result<Option<(AgentChange, DeploymentRow)>, Error> {
        let (organization, id) = (&self.agent.organization, &self.agent.id);
        let change = self.app.store.change_agent(organization, id, Some(&self.owner)).await?;
        let Some(mut change) = change else { return Ok(None) };
        let row = change.deployment(self.row.number).await?;
        let same = |row: &DeploymentRow| {
            row.state == self.row.state && row.since_ms == self.row.since_ms && row.turn == self.row.turn
        };
        match row.filter(same) {
            Some(row) => Ok(Some((change, row))),
            None => {
                change.abandon().await?;
                Ok(None)
            }
        }
    }

    /// Commits and tells.
    pub async fn done(&self, change: AgentChange) -> Result<(), Error> {
        change.commit().await?;
        tell_listeners(&self.app, &self.agent.organization, &self.agent.id);
        Ok(())
    }

    /// Puts the deployment into another state.
    pub async fn to(&self, state: State, detail: impl Into<String>) -> Result<Next, Error> {
        let Some((mut change, mut row)) = self.take().await? else { return Ok(Next::soon()) };
        enter(&mut row, state, detail);
        change.put(&mut row, true).await?;
        self.done(change).await?;
        Ok(Next::now())
    }

    /// Tries again later: notes how often, and says why where that is new.
    pub async fn later(&self, why: String) -> Result<Next, Error> {
        let timing = self.app.config.agents.timing;
        let Some((mut change, mut row)) = self.take().await? else { return Ok(Next::soon()) };
        row.attempts += 1;
        let times = u32::try_from(row.attempts).unwrap_or(u32::MAX);
        let wait = super::super::keeper::backoff(timing.retry, timing.retry_most, times);
        row.retry_at_ms = now_ms().saturating_add(super::super::millis(wait));
        let told = row.detail != why;
        row.detail = why;
        change.put(&mut row, told).await?;
        self.done(change).await?;
        Ok(Next::after(wait))
    }

    /// It will not come up. What serves goes on serving; a version that served until now does not any more.
    pub async fn fail(&self, failed: Failed) -> Result<Next, Error> {
        let Some((mut change, mut row)) = self.take().await? else { return Ok(Next::soon()) };
        tracing::info!(organization = %row.organization, agent = %row.agent, version = row.number,
            reason = ?failed.reason, "a deployment failed");
        enter(&mut row, State::Failed, "");
        failed.note(&mut row);
        if change.agent.serving == row.number {
            change.agent.serving = 0;
        }
        change.put(&mut row, true).await?;
        self.done(change).await?;
        self.app.metrics.deployed(row.reason.unwrap_or(FailureReason::Internal).name());
        Ok(Next::now())
    }
}

/// Another one was asked for after it.
pub async fn supersede(act: &Act, by: u64) -> Result<Next, Error> {
    let detail = format!("Version {by} was asked for after it and takes its place.");
    act.fail(Failed::new(FailureReason::Superseded, detail)).await
}

/// It is to end.
pub async fn wind_down(act: &Act) -> Result<Next, Error> {
    let state = if act.row.placed { State::Stopping } else { State::Stopped };
    act.to(state, "It was asked to stop.").await
}
