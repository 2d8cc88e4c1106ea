//! Runs of snippets, sessions, snapshots and their files: which worker takes a call, within which limits and grants, and
//! which key may see what.
//!
//! Never runs code itself and knows no HTTP route. Start reading at `run.rs`.

mod config;
mod error;
mod files;
mod grants;
mod reaper;
mod run;
mod run_ids;
mod sessions;
mod snapshots;
mod whole;

use std::sync::Arc;

use cofferdam_contract::{Limits, LimitsRequest, Problem};
use cofferdam_gateway::Gateway;
use cofferdam_policy::{LimitsConfig, OperatorPolicy};
use cofferdam_store::Store;
use cofferdam_workers::Workers;

pub use config::SessionsConfig;
pub use error::Error;
pub use run::{Kept, Run, Started, check};
pub use sessions::{InUse, MAX_PAGE};

use sessions::SessionCache;

/// Runs snippets and keeps sessions.
pub struct Sandboxes {
    store: Store,
    workers: Arc<Workers>,
    gateway: Arc<Gateway>,
    policy: Arc<OperatorPolicy>,
    limits: LimitsConfig,
    config: SessionsConfig,
    sessions: SessionCache,
}

impl Sandboxes {
    pub fn new(
        store: Store,
        workers: Arc<Workers>,
        gateway: Arc<Gateway>,
        policy: Arc<OperatorPolicy>,
        limits: LimitsConfig,
        config: SessionsConfig,
    ) -> Arc<Self> {
        Arc::new(Self { store, workers, gateway, policy, limits, config, sessions: SessionCache::default() })
    }

    /// The limits of a request: its own, else `default`, within the operator's maximum.
    fn limits(&self, request: &LimitsRequest, default: &Limits) -> Result<Limits, Error> {
        Limits::resolve(request, default, &self.limits.maximum).map_err(|e| Problem::invalid(e.to_string()).into())
    }
}
