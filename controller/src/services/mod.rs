//! What the API decides: which worker, which limits, who may see what. Handlers map to and from HTTP around it.

pub mod files;
pub mod keys;
pub mod reaper;
pub mod run_grants;
pub mod run_ids;
pub mod runs;
pub mod secrets;
pub mod session_list;
pub mod sessions;
pub mod snapshots;
pub mod tools;

mod session_cache;

use std::sync::{Arc, RwLock};

use crate::Error;
use crate::agents::cloud::S3ToRegistry;
use crate::agents::logs::Logs;
use crate::agents::uploads::Uploads;
use crate::agents::{Agents, Direct};
use crate::auth::Keyring;
use crate::config::Config;
use crate::gateway::{Gateway, GatewaySettings, Models, Resolve, SystemResolver, read_roots};
use crate::metrics::Metrics;
use crate::objects::{self, AnyObjects};
use crate::policy::OperatorPolicy;
use crate::store::Store;
use crate::vault::Vault;
use crate::workers::{Registry, ToolWorkers};

pub use session_cache::SessionCache;
use tools::Tools;

/// What every handler shares.
pub type App = Arc<Controller>;

pub struct Controller {
    pub config: Config,
    pub store: Store,
    pub keys: Keyring,
    pub workers: Registry,
    pub tool_workers: ToolWorkers,
    pub tools: Tools,
    pub agents: Agents,
    pub uploads: Uploads,
    /// What the operator allows.
    pub policy: Arc<OperatorPolicy>,
    pub vault: Vault,
    pub gateway: Gateway,
    pub sessions: SessionCache,
    pub objects: AnyObjects,
    pub logs: Arc<Logs>,
    pub metrics: Arc<Metrics>,
    /// What the start is busy with, for `/ready`.
    pub progress: Arc<RwLock<String>>,
}

/// What a controller is made of.
pub struct Parts {
    pub config: Config,
    pub store: Store,
    pub workers: Registry,
    pub tool_workers: ToolWorkers,
    pub metrics: Arc<Metrics>,
    pub progress: Arc<RwLock<String>>,
    /// Looks names up for the gateway.
    pub resolver: Arc<dyn Resolve>,
}

impl Parts {
    /// Without workers, and with the system's names.
    pub fn new(config: Config, store: Store) -> Self {
        Self {
            config,
            store,
            workers: Registry::new(Vec::new()),
            tool_workers: ToolWorkers::new(Vec::new()),
            metrics: Arc::default(),
            progress: Arc::default(),
            resolver: Arc::new(SystemResolver::default()),
        }
    }
}

impl Controller {
    /// # Errors
    /// Where the store cannot be read, or a setting cannot be.
    pub async fn new(parts: Parts) -> Result<App, Error> {
        let Parts { config, store, workers, tool_workers, metrics, progress, resolver } = parts;
        let keys = Keyring::load(store.clone()).await?;
        let sessions = SessionCache::default();
        let policy = Arc::new(OperatorPolicy::load(config.policy.as_deref())?);
        let tools = Tools::open(&config, &store, &policy)?;
        let vault = Vault::open(config.gateway.encryption_key.as_ref(), &config.data_dir)?;
        let roots = config.gateway.ca_file.as_deref().map(read_roots).transpose()?.unwrap_or_default();
        let settings = GatewaySettings::new(Arc::clone(&policy), roots);
        let objects = objects::open(&config.objects.url)?;
        let logs = Logs::new(store.clone(), Arc::clone(&objects), config.logs.clone(), metrics.logs.clone());
        let models = Models::new(&config.gateway)?;
        let gateway = Gateway::new(settings, vault.derive("placeholders"), resolver, models)?;
        let uploads = Uploads::new(&config, &vault);
        let agents = Agents::new(Arc::new(Direct::new(&config.agents, &policy)));
        let app = Arc::new(Self {
            config,
            store,
            keys,
            workers,
            tool_workers,
            tools,
            agents,
            uploads,
            policy,
            vault,
            gateway,
            sessions,
            objects,
            logs,
            metrics,
            progress,
        });
        S3ToRegistry::install(&app);
        Ok(app)
    }
}
