//! The services that the loop uses, and its settings.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_agents::Agents;
use cofferdam_connectors::Connectors;
use cofferdam_models::Models;
use cofferdam_sandbox::Sandboxes;
use cofferdam_tasks::Tasks;
use cofferdam_tools::Tools;

use crate::metrics::LoopMetrics;

/// Settings of the loop. The defaults are those of a server; tests use shorter ones.
#[derive(Debug, Clone, Copy)]
pub struct LoopConfig {
    /// Tasks that this process runs at once.
    pub slots: usize,
    /// Unfinished tasks that an organization may have.
    pub max_unfinished: u64,
    /// A retry of the model that comes sooner keeps the slot.
    pub short_wait: Duration,
    /// Tries of one call of the model, and the time that they may take in all.
    pub max_tries: u32,
    pub retry_for: Duration,
    /// The first wait before a retry.
    pub first_wait: Duration,
    /// The time that tasks have to come to a step's end when the process drains.
    pub drain: Duration,
}

impl Default for LoopConfig {
    fn default() -> Self {
        Self {
            slots: 64,
            max_unfinished: 100_000,
            short_wait: Duration::from_secs(5),
            max_tries: 8,
            retry_for: Duration::from_secs(600),
            first_wait: Duration::from_millis(500),
            drain: Duration::from_secs(20),
        }
    }
}

/// The services that the loop uses.
pub struct Parts {
    pub tasks: Arc<Tasks>,
    pub agents: Arc<Agents>,
    pub models: Arc<Models>,
    pub sandboxes: Arc<Sandboxes>,
    pub tools: Arc<Tools>,
    pub connectors: Arc<Connectors>,
    pub config: LoopConfig,
    pub metrics: LoopMetrics,
    /// The write at which a test kills the worker.
    #[cfg(test)]
    pub kill: crate::tests::Kill,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Parts")
    }
}
