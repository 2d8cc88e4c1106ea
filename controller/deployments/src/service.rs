//! The service: what all operations on agents and deployments share.

use std::sync::Arc;

use cofferdam_contract::{AgentId, OrganizationId, Problem};
use cofferdam_core::Vault;
use cofferdam_environments::{Environment, Environments, Variables};
use cofferdam_identity::Secrets;
use cofferdam_policy::RegistriesConfig;
use cofferdam_store::{AgentRow, Store};
use tokio::sync::{Notify, broadcast};

use crate::changes::Changed;
use crate::{DeploymentMetrics, DeploymentsConfig, Error, ResolveImage};

/// Changes that a slow listener may fall behind by; a listener that missed some looks into the store.
const CHANGES_KEPT: usize = 1_024;

/// Agents and their deployments: created, deployed, started, stopped, rolled back, deleted.
///
/// Every operation writes to the store and returns; the [`crate::Driver`] acts on what is written.
pub struct Deployments {
    pub(crate) store: Store,
    pub(crate) vault: Arc<Vault>,
    pub(crate) environments: Arc<Environments>,
    pub(crate) variables: Arc<Variables>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) registries: RegistriesConfig,
    pub(crate) resolver: Arc<dyn ResolveImage>,
    pub(crate) config: DeploymentsConfig,
    pub(crate) metrics: DeploymentMetrics,
    /// Wakes the operator: an image in a bucket is waiting to be carried.
    pub(crate) carriage: Notify,
    /// Agents that were changed in this process.
    changed: broadcast::Sender<Changed>,
}

impl Deployments {
    #[expect(clippy::too_many_arguments, reason = "the composition passes each service by its own name")]
    pub fn new(
        store: Store,
        vault: Arc<Vault>,
        environments: Arc<Environments>,
        variables: Arc<Variables>,
        secrets: Arc<Secrets>,
        registries: RegistriesConfig,
        resolver: Arc<dyn ResolveImage>,
        config: DeploymentsConfig,
        metrics: DeploymentMetrics,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            vault,
            environments,
            variables,
            secrets,
            registries,
            resolver,
            config,
            metrics,
            carriage: Notify::new(),
            changed: broadcast::Sender::new(CHANGES_KEPT),
        })
    }

    /// Tells the driver and the listeners that an agent has changed. Call it after the change is committed.
    pub(crate) fn announce(&self, organization: &OrganizationId, agent: &AgentId) {
        self.send(organization, agent, false);
    }

    /// Tells the listeners of a change that the driver made itself and need not be woken for.
    pub(crate) fn announce_to_listeners(&self, organization: &OrganizationId, agent: &AgentId) {
        self.send(organization, agent, true);
    }

    fn send(&self, organization: &OrganizationId, agent: &AgentId, by_driver: bool) {
        // Without a receiver the send fails, which is fine.
        let _ = self.changed.send(Changed { organization: organization.clone(), agent: agent.clone(), by_driver });
    }

    /// All changes made in this process.
    pub(crate) fn changes(&self) -> broadcast::Receiver<Changed> {
        self.changed.subscribe()
    }

    /// The agent's environment as it is now.
    pub(crate) async fn environment_of(&self, agent: &AgentRow) -> Result<Environment, Error> {
        Ok(self.environments.find(&agent.organization, &agent.environment).await?)
    }
}

pub(crate) fn no_agent(id: &AgentId) -> Error {
    Problem::not_found(format!("There is no agent {:?}.", id.as_str())).into()
}

/// Refuses an agent that has a definition and no containers.
pub(crate) fn container(agent: &AgentRow) -> Result<(), Error> {
    if !agent.serverless {
        return Ok(());
    }
    let id = agent.id.as_str();
    let detail = format!(
        "The agent {id:?} is serverless: it has a definition and nothing to deploy. PUT /v1/agents/{id} changes it; to run a \
         container, create another agent."
    );
    Err(Problem::conflict(detail).into())
}
