//! Listening for changes of an agent. Changes made by other processes are not announced here; a listener finds them by
//! looking into the store from time to time.

use std::time::Duration;

use cofferdam_contract::{AgentId, OrganizationId};
use tokio::sync::broadcast;

use crate::Deployments;

/// An agent, or one of its deployments, has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changed {
    pub organization: OrganizationId,
    pub agent: AgentId,
    /// The driver made the change itself.
    pub by_driver: bool,
}

/// Listens for the changes of one agent.
pub struct Listener {
    changes: broadcast::Receiver<Changed>,
    organization: OrganizationId,
    agent: AgentId,
}

impl Deployments {
    /// Call this first, then read the store, then wait: no change is missed.
    pub fn listen(&self, organization: &OrganizationId, agent: &AgentId) -> Listener {
        Listener { changes: self.changes(), organization: organization.clone(), agent: agent.clone() }
    }
}

impl Listener {
    /// Waits for a change, at most `most`. Read the store again afterwards.
    pub async fn wait(&mut self, most: Duration) {
        let changed = async {
            loop {
                match self.changes.recv().await {
                    Ok(changed) if changed.agent != self.agent || changed.organization != self.organization => {}
                    // Some changes were missed; this agent's may be among them.
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        let _ = tokio::time::timeout(most, changed).await;
    }
}
