//! Deletes agents, and environments with them. A deletion is written down at once and carried out by the driver, which
//! removes the workloads first and then the rows. By force the rows go even if the cluster refuses.

use std::time::Duration;

use cofferdam_cluster::workload_name;
use cofferdam_contract::{AgentId, DeploymentState, Problem};
use cofferdam_core::Caller;
use cofferdam_environments::LOCAL;
use cofferdam_store::{DeploymentRow, Wanted};
use tokio::time::{Instant, sleep};

use crate::service::no_agent;
use crate::workload::workload_id;
use crate::{DeletedAgent, Deployments, Error, LeftBehind};

/// The longest wait for the agents of an environment that is deleted by force.
const FORCED_WAIT: Duration = Duration::from_secs(45);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The cluster may have objects of it, or is about to get them.
fn may_be_placed(row: &DeploymentRow) -> bool {
    row.placed || row.state == DeploymentState::Applying
}

impl Deployments {
    /// Deletes an agent. It accepts no more requests, and its rows are deleted once all of its workloads are gone. With
    /// `force` they are deleted after one attempt to remove the workloads, and the answer names what may stay behind.
    ///
    /// # Errors
    /// [`Problem::not_found`].
    pub async fn delete(&self, caller: &Caller, id: &AgentId, force: bool) -> Result<DeletedAgent, Error> {
        let change = self.store.change_agent(&caller.organization, id, None).await?;
        let mut change = change.ok_or_else(|| no_agent(id))?;
        // A deletion by force stays one.
        change.agent.wanted =
            if force || change.agent.wanted == Wanted::Abandon { Wanted::Abandon } else { Wanted::Delete };
        let placed: Vec<DeploymentRow> = match change.agent.wanted {
            Wanted::Abandon => change.deployments().await?.into_iter().filter(may_be_placed).collect(),
            Wanted::Run | Wanted::Stop | Wanted::Delete => Vec::new(),
        };
        let agent = change.commit().await?;
        self.announce(&caller.organization, id);
        tracing::info!(organization = %caller.organization, agent = %id, force, "an agent is to be deleted");
        let left_behind = if placed.is_empty() {
            None
        } else {
            // An environment whose settings cannot be opened is a reason for force.
            let namespace = self.environment_of(&agent).await.ok().map(|environment| environment.namespace);
            let names = placed.iter().map(|row| workload_name(&workload_id(row))).collect();
            Some(LeftBehind { environment: agent.environment, namespace, names })
        };
        Ok(DeletedAgent { agent_id: id.clone(), left_behind })
    }

    /// Deletes an environment. With `force` its agents are deleted by force first, and the answer lists them.
    ///
    /// # Errors
    /// [`Problem::not_found`]; [`Problem::conflict`] if agents use it, or still do after [`FORCED_WAIT`].
    pub async fn delete_environment(
        &self,
        caller: &Caller,
        name: &str,
        force: bool,
    ) -> Result<Vec<DeletedAgent>, Error> {
        match self.environments.delete(caller, name).await.map_err(Error::from) {
            Ok(()) => return Ok(Vec::new()),
            Err(Error::Refused(problem)) if force && name != LOCAL && problem.status == 409 => {}
            Err(error) => return Err(error),
        }
        let mut deleted = Vec::new();
        for id in self.store.agents_in(&caller.organization, name).await? {
            match self.delete(caller, &id, true).await {
                Ok(agent) => deleted.push(agent),
                // It is gone already.
                Err(Error::Refused(problem)) if problem.status == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let until = Instant::now() + FORCED_WAIT;
        loop {
            match self.environments.delete(caller, name).await.map_err(Error::from) {
                Ok(()) => return Ok(deleted),
                Err(Error::Refused(problem)) if problem.status == 409 && Instant::now() < until => {}
                Err(Error::Refused(problem)) if problem.status == 404 => return Ok(deleted),
                Err(Error::Refused(problem)) if problem.status == 409 => {
                    let detail =
                        format!("The agents of {name:?} are still being deleted by force: repeat this in a minute.");
                    return Err(Problem::conflict(detail).into());
                }
                Err(error) => return Err(error),
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}
