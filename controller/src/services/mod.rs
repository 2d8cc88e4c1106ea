//! What the API decides: which worker, which limits, who may see what. Handlers map to and from HTTP around it.

pub mod files;
pub mod keys;
pub mod reaper;
pub mod run_ids;
pub mod runs;
pub mod session_list;
pub mod sessions;
pub mod snapshots;

mod session_cache;

use std::sync::{Arc, RwLock};

use crate::Error;
use crate::auth::Keyring;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::workers::Registry;

pub use session_cache::SessionCache;

/// What every handler shares.
pub type App = Arc<Controller>;

pub struct Controller {
    pub config: Config,
    pub store: Store,
    pub keys: Keyring,
    pub workers: Registry,
    pub sessions: SessionCache,
    pub metrics: Arc<Metrics>,
    /// What the start is busy with, for `/ready`.
    pub progress: Arc<RwLock<String>>,
}

impl Controller {
    /// # Errors
    /// Where the store cannot be read.
    pub async fn new(
        config: Config,
        store: Store,
        workers: Registry,
        metrics: Arc<Metrics>,
        progress: Arc<RwLock<String>>,
    ) -> Result<App, Error> {
        let keys = Keyring::load(store.clone()).await?;
        Ok(Arc::new(Self { config, store, keys, workers, sessions: SessionCache::default(), metrics, progress }))
    }
}
