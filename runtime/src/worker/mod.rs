//! The worker: the process that runs untrusted code, behind the HTTP wire of `contract::worker`.
//!
//! It holds no secret and opens no connection; it answers on the listener that it was given. It loads the kernels, then
//! confines itself, and only then touches untrusted data.

pub(crate) mod admission;
mod config;
mod file_answer;
pub(crate) mod lanes;
mod life_mark;
mod metrics;
pub(crate) mod routes;
mod runs;
mod sessions;
pub(crate) mod watch;

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use cofferdam_host_api::Budget;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::artifact::ArtifactCache;
use crate::confine::{Confinement, Profile, confine, own_user};
use crate::engine::{kernel_engine, start_ticker};
use crate::error::Error;
use crate::fresh::RunFiles;
use crate::kernel::Kernel;
use crate::kernel::manifest::Manifest;
use crate::kernel::prepare::check;
use crate::session::Sessions;
use crate::unsent::Unsent;
use crate::uplink::Uplinks;
use admission::Admission;
pub use config::WorkerConfig;
use life_mark::LifeMark;
use metrics::Metrics;

/// The stack of a thread that runs guests: the guest's own, plus what host functions need.
const THREAD_STACK: usize = crate::engine::GUEST_STACK + (8 << 20);
/// The most connections with their own thread. Each costs five open files and some memory.
const MAX_LANES: usize = 512;
/// The most runs whose files are kept.
const KEPT_RUNS: usize = 256;

/// The state shared by all requests.
pub(crate) struct Worker {
    pub(crate) config: WorkerConfig,
    pub(crate) kernels: Vec<Arc<Kernel>>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) admission: Admission,
    pub(crate) files: RunFiles,
    pub(crate) budget: Arc<Budget>,
    /// The uplinks of connected gateways.
    pub(crate) uplinks: Uplinks,
    pub(crate) metrics: Metrics,
    pub(crate) unsent: Unsent,
    /// The runtime for work that outlives a request or runs beside it.
    pub(crate) background: Handle,
}

/// Serves until SIGTERM or SIGINT, then drains: runs finish, sessions are suspended.
pub fn serve(listener: UnixListener, mut config: WorkerConfig) -> Result<(), Error> {
    std::fs::create_dir_all(&config.state_dir).map_err(Error::io("the state folder"))?;
    if config.confine {
        for folder in [&mut config.kernels_dir, &mut config.cache_dir] {
            *folder = std::path::absolute(&folder).map_err(Error::io("the current folder"))?;
        }
        config.state_dir = own_user::work_in(&config.state_dir).map_err(Error::io("the state folder"))?;
    }
    let engine = kernel_engine().map_err(Error::Sandbox)?;
    let cache = ArtifactCache::open(&config.cache_dir)?;
    let budget = Budget::new(config.files_budget_bytes);
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let life = LifeMark::set(&config.state_dir);
    let mut kernels = Vec::new();
    for folder in Manifest::folders(&config.kernels_dir)? {
        if life.follows_a_death() {
            check(&engine, &cache, &folder)?;
        }
        kernels.push(Arc::new(Kernel::load(&engine, &cache, &folder, &budget, config.max_runs)?));
    }
    if config.confine {
        own_user::forgo_page_frames().map_err(Error::io("the capabilities"))?;
    }
    crate::memory::open_pagemap();
    raise_open_files();
    if config.confine {
        let readable: Vec<PathBuf> = vec![PathBuf::from("/sys/fs/cgroup"), PathBuf::from("/sys/devices/system/cpu")];
        own_user::give(&config.state_dir).map_err(Error::io("the state folder's owner"))?;
        let Confinement { landlock, seccomp, user } = confine(Profile::Kernels, &readable, Some(&config.state_dir))?;
        tracing::info!(landlock, seccomp, user, "the worker is confined");
    }
    start_ticker(&engine, watch::look).map_err(Error::io("the epoch thread"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores)
        // One thread per run; other blocking work (suspending, files) is short.
        .max_blocking_threads(config.max_runs + 16)
        .thread_stack_size(THREAD_STACK)
        .enable_all()
        .build()
        .map_err(Error::io("the worker's threads"))?;
    let background = runtime.handle().clone();
    let worker = Arc::new(Worker {
        admission: Admission::new(config.max_runs, config.max_waiting),
        files: RunFiles::new(KEPT_RUNS, Duration::from_secs(config.run_files_s)),
        metrics: Metrics::new(),
        unsent: Unsent::default(),
        uplinks: Uplinks::default(),
        sessions: Arc::new(Sessions::open(kernels.clone(), &config, background.clone())?),
        kernels,
        budget,
        config,
        background,
    });
    runtime.block_on(serve_worker(listener, worker))?;
    life.end();
    Ok(())
}

/// Connections and notes of live sessions use open files. The usual limit of a login shell is too low.
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

/// Serves connections until SIGTERM or SIGINT, then accepts none and lets requests finish within `drain`. Cancels
/// `stop` when that begins. Enough connections for `calls` running and as many waiting ones get their own thread, up to
/// [`MAX_LANES`].
pub(crate) async fn serve_until_told(
    listener: UnixListener,
    router: Router,
    calls: usize,
    drain: Duration,
    stop: &CancellationToken,
) -> Result<(), Error> {
    listener.set_nonblocking(true).map_err(Error::io("the worker's listener"))?;
    let listener = tokio::net::UnixListener::from_std(listener).map_err(Error::io("the worker's listener"))?;
    let mut term = signal(SignalKind::terminate()).map_err(Error::io("signals"))?;
    let mut int = signal(SignalKind::interrupt()).map_err(Error::io("signals"))?;
    let lanes = calls.saturating_mul(2).saturating_add(16).min(MAX_LANES);
    let mut serving = tokio::spawn(lanes::serve(listener, router, lanes, stop.clone()));
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        ended = &mut serving => {
            let source = std::io::Error::other(format!("it ended on its own: {ended:?}"));
            return Err(Error::Io { context: "the worker's server", source });
        }
    }
    tracing::info!("draining");
    stop.cancel();
    let _ = tokio::time::timeout(drain, &mut serving).await;
    Ok(())
}

async fn serve_worker(listener: UnixListener, worker: Arc<Worker>) -> Result<(), Error> {
    let stop = CancellationToken::new();
    let tending = tokio::spawn(tend(Arc::clone(&worker), stop.clone()));
    let (router, drain) = (routes::router(Arc::clone(&worker)), Duration::from_secs(worker.config.drain_s));
    serve_until_told(listener, router, worker.config.max_runs, drain, &stop).await?;
    worker.admission.close();
    let failed = worker.sessions.suspend_all().await;
    if failed > 0 {
        tracing::warn!(failed, "sessions could not be suspended");
    }
    let _ = tending.await;
    Ok(())
}

/// Once a second: suspends idle sessions, and removes expired sessions and files.
async fn tend(worker: Arc<Worker>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        worker.files.expire();
        let again = Arc::clone(&worker);
        let _ = tokio::task::spawn_blocking(move || again.sessions.tend(again.config.idle_suspend_s)).await;
    }
}
