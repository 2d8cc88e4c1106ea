//! The tool worker: the process that runs tools' components, behind the `/tools` part of `contract::worker`.
//!
//! Like the worker for snippets, it holds no secret and opens no connection, and it confines itself before it touches
//! untrusted data. It is a separate process because compiled code is mapped in it at any time, which the other one does
//! not permit. It never compiles: another process puts compiled code into the artifact cache, and this one loads it by
//! digest.

mod call;
mod components;
mod config;
mod folder;
mod linkers;
mod logs;
mod memory;
mod metrics;
mod routes;
mod state;
#[cfg(test)]
mod tests;

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::tool::MAX_CALL_DEPTH;
use cofferdam_contract::{OrganizationId, Problem};
use cofferdam_host_api::{Base, Budget, Mounts, SystemClock};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use wasmtime::Engine;

use crate::artifact::ArtifactCache;
use crate::confine::{Confinement, Profile, confine};
use crate::engine::{TOOL_STACK, start_ticker, tool_engine};
use crate::error::Error;
use crate::unsent::Unsent;
use crate::uplink::Uplinks;
use crate::worker::admission::{Admission, Place};
use crate::worker::{raise_open_files, serve_until_told, watch};
use components::Components;
pub use config::ToolWorkerConfig;
use memory::Memory;
use metrics::Metrics;

/// The stack of a thread that runs tools: the guest's own, plus what host functions need.
const THREAD_STACK: usize = TOOL_STACK + (2 << 20);

/// The state shared by all requests.
struct ToolWorker {
    config: ToolWorkerConfig,
    components: Components,
    /// One for each depth: a nested call waits only for calls at the same depth.
    admission: Vec<Admission>,
    uplinks: Uplinks,
    base: Arc<Base>,
    memory: Arc<Memory>,
    metrics: Metrics,
    unsent: Unsent,
    /// The runtime for work that may block for long.
    background: Handle,
}

/// Loads everything that must exist before the process is confined.
fn load(config: &ToolWorkerConfig) -> Result<(Engine, Components), Error> {
    let engine = tool_engine().map_err(Error::Sandbox)?;
    let cache = ArtifactCache::open(&config.cache_dir)?;
    let components = Components::new(engine.clone(), cache, config.max_components, config.code_bytes);
    Ok((engine, components))
}

impl ToolWorker {
    fn new(config: ToolWorkerConfig, components: Components, background: Handle) -> Self {
        let budget = Budget::new(config.files_budget_bytes);
        Self {
            components,
            admission: (0..=MAX_CALL_DEPTH).map(|_| Admission::new(config.max_calls, config.max_waiting)).collect(),
            uplinks: Uplinks::default(),
            memory: Memory::new(config.memory_bytes),
            base: Arc::new(Base { mounts: Arc::new(Mounts::new()), budget, clock: Arc::new(SystemClock) }),
            metrics: Metrics::new(),
            unsent: Unsent::default(),
            background,
            config,
        }
    }

    async fn enter(&self, depth: u32, organization: &OrganizationId, max: Option<usize>) -> Result<Place, Problem> {
        let places = usize::try_from(depth).ok().and_then(|depth| self.admission.get(depth));
        let places = places.ok_or_else(|| Problem::denied(format!("Tools call each other {depth} deep.")))?;
        let max = max.or(self.config.max_calls_per_organization);
        places.enter(organization, max).await.inspect_err(|_| self.metrics.refused())
    }

    /// The numbers of calls in progress and waiting.
    fn load(&self) -> (usize, usize) {
        let loads = self.admission.iter().map(Admission::load);
        loads.fold((0, 0), |(active, waiting), load| (active + load.0, waiting + load.1))
    }
}

/// Serves until SIGTERM or SIGINT, then lets calls finish.
pub fn serve(listener: UnixListener, mut config: ToolWorkerConfig) -> Result<(), Error> {
    if config.confine {
        config.cache_dir = ArtifactCache::open(&config.cache_dir)?.for_own_user()?;
        ArtifactCache::open(&config.cache_dir)?.give_components()?;
    }
    let (engine, components) = load(&config)?;
    raise_open_files();
    if config.confine {
        let readable =
            [PathBuf::from("/sys/fs/cgroup"), PathBuf::from("/sys/devices/system/cpu"), config.cache_dir.clone()];
        let Confinement { landlock, seccomp, user } = confine(Profile::Tools, &readable, None)?;
        tracing::info!(landlock, seccomp, user, "the tool worker is confined");
    }
    start_ticker(&engine, watch::look).map_err(Error::io("the epoch thread"))?;
    let depths = MAX_CALL_DEPTH as usize + 1;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, usize::from))
        // Every permit has a thread, or a nested call could wait for one that an outer call holds.
        .max_blocking_threads(config.max_calls.saturating_mul(depths).saturating_add(16))
        .thread_stack_size(THREAD_STACK)
        .enable_all()
        .build()
        .map_err(Error::io("the tool worker's threads"))?;
    let worker = ToolWorker::new(config, components, runtime.handle().clone());
    runtime.block_on(async {
        let worker = Arc::new(worker);
        let (router, drain) = (routes::router(Arc::clone(&worker)), Duration::from_secs(worker.config.drain_s));
        serve_until_told(listener, router, worker.config.max_calls, drain, &CancellationToken::new()).await?;
        worker.admission.iter().for_each(Admission::close);
        Ok(())
    })
}
