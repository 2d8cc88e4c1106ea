//! The number of tasks of an organization and of an agent that workers may have in hand at once: the operator's limit, and the agent's own.

use std::sync::Arc;

use cofferdam_agents::Agents;
use cofferdam_identity::{Keyring, Rates};
use cofferdam_store::Lane;
use cofferdam_tasks::{LaneLimit, LaneLimits};
use futures_util::future::BoxFuture;

/// Knows the limits from memory.
pub struct Lanes {
    pub keyring: Arc<Keyring>,
    pub rates: Arc<Rates>,
    pub agents: Arc<Agents>,
}

impl LaneLimits for Lanes {
    fn limit<'a>(&'a self, lane: &'a Lane) -> BoxFuture<'a, LaneLimit> {
        Box::pin(async move {
            let own = self.keyring.limits(&lane.organization);
            let organization = self.rates.organization(own).max_concurrent_tasks;
            // An agent that cannot be read now has no limit of its own; its tasks say what is wrong with it.
            let agent = self.agents.active(&lane.organization, &lane.agent).await.ok().flatten();
            LaneLimit { organization, agent: agent.and_then(|agent| agent.definition.limits.concurrency) }
        })
    }
}
