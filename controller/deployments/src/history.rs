//! Reads deployments and their events.

use cofferdam_contract::{AgentId, DeploymentId, Problem};
use cofferdam_core::Caller;
use cofferdam_environments::Environment;
use cofferdam_store::DeploymentRow;

use crate::request::no_deployment;
use crate::service::no_agent;
use crate::{DeploymentEvent, DeploymentInfo, Deployments, Error};

/// Deployments or events in one page.
const MAX_PAGE: u64 = 200;

impl Deployments {
    /// A page of an agent's deployments, newest first, with numbers below `before`.
    ///
    /// # Errors
    /// [`Problem::not_found`].
    pub async fn deployments(
        &self,
        caller: &Caller,
        id: &AgentId,
        before: Option<u64>,
        limit: u64,
    ) -> Result<Vec<DeploymentInfo>, Error> {
        self.store.agent(&caller.organization, id).await?.ok_or_else(|| no_agent(id))?;
        let before = before.unwrap_or(u64::MAX);
        let rows = self.store.deployments(&caller.organization, id, before, limit.clamp(1, MAX_PAGE)).await?;
        Ok(rows.iter().map(Into::into).collect())
    }

    async fn row(&self, caller: &Caller, id: &AgentId, number: u64) -> Result<DeploymentRow, Error> {
        match self.store.deployment(&caller.organization, id, number).await? {
            Some(row) => Ok(row),
            None if self.store.agent(&caller.organization, id).await?.is_none() => Err(no_agent(id)),
            None => Err(no_deployment(id, number)),
        }
    }

    /// # Errors
    /// [`Problem::not_found`].
    pub async fn deployment(&self, caller: &Caller, id: &AgentId, number: u64) -> Result<DeploymentInfo, Error> {
        Ok((&self.row(caller, id, number).await?).into())
    }

    /// A page of a deployment's events with `seq` above `after`, oldest first; and whether the deployment has settled,
    /// in which case no more events come soon.
    ///
    /// # Errors
    /// [`Problem::not_found`].
    pub async fn events_after(
        &self,
        caller: &Caller,
        id: &AgentId,
        number: u64,
        after: u64,
        limit: u64,
    ) -> Result<(Vec<DeploymentEvent>, bool), Error> {
        let row = self.row(caller, id, number).await?;
        let events = self.store.deployment_events(&row.id, after, limit.clamp(1, MAX_PAGE)).await?;
        Ok((events.into_iter().map(Into::into).collect(), row.state.is_settled()))
    }

    /// A deployment by its own id, with its agent's environment. For uploads, whose link names the deployment.
    ///
    /// # Errors
    /// [`Problem::not_found`].
    pub(crate) async fn find_deployment(&self, id: &DeploymentId) -> Result<(DeploymentRow, Environment), Error> {
        let gone = || Error::from(Problem::not_found("This deployment no longer exists."));
        let row = self.store.deployment_by_id(id).await?.ok_or_else(gone)?;
        let agent = self.store.agent(&row.organization, &row.agent).await?;
        let agent = agent.filter(|agent| !agent.wanted.deletes()).ok_or_else(gone)?;
        let environment = self.environment_of(&agent).await?;
        Ok((row, environment))
    }
}
