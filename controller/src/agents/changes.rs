//! Hearing of changes, for those who stream them. Changes of other controllers are found by looking now and then.

use std::time::Duration;

use cofferdam_contract::{AgentId, OrganizationId};
use tokio::sync::broadcast;

use super::Agents;

/// An agent, or one of its deployments, has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub organization: OrganizationId,
    pub agent: AgentId,
    /// Whether the driver has done it.
    pub by_driver: bool,
}

/// Listens for the changes of one agent, from its making on.
pub struct Listener {
    changes: broadcast::Receiver<Changed>,
    organization: OrganizationId,
    agent: AgentId,
}

impl Agents {
    /// Make it before you look, then look, then wait: no change is missed.
    pub fn listen(&self, organization: &OrganizationId, agent: &AgentId) -> Listener {
        Listener { changes: self.changed.subscribe(), organization: organization.clone(), agent: agent.clone() }
    }

    /// All changes in this process.
    pub(super) fn changes(&self) -> broadcast::Receiver<Changed> {
        self.changed.subscribe()
    }
}

impl Listener {
    /// Waits for a change, at most `most`: after it, look again.
    pub async fn wait(&mut self, most: Duration) {
        let changed = async {
            loop {
                match self.changes.recv().await {
                    Ok(changed) if changed.agent != self.agent || changed.organization != self.organization => {}
                    // Missed some: ours may be among them.
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        let _ = tokio::time::timeout(most, changed).await;
    }
}
