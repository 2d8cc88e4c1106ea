//! `cofferdam serve`: brings the parts up, waits, and takes them down in the reverse order.

use std::fs::{DirBuilder, File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::accept;
use super::{code_runner, signals};
use crate::agents::{cloud, driver};
use crate::auth::{KeySource, accept_serve_key};
use crate::config::Config;
use crate::gateway::{keep_uplink, uplinks};
use crate::metrics::Metrics;
use crate::services::{self, App, Controller, reaper};
use crate::store::Store;
use crate::supervisor::{LocalTools, LocalWorker, Supervision, ToolProgram, WorkerProgram};
use crate::workers::{Registry, ToolWorker, ToolWorkers, Worker, watch};
use crate::{Error, api};

/// Background tasks end within this time once they are told to.
const END: Duration = Duration::from_secs(5);

/// A part that broke is started again after this time.
const AGAIN: Duration = Duration::from_secs(1);

/// What is there when the listener is open.
pub struct Started {
    pub address: SocketAddr,
    pub door: Door,
}

/// What listens there.
pub enum Door {
    /// The API, and where its key is.
    Api(KeySource),
    /// Workers, for controllers that have the token.
    CodeRunner,
    /// Health and metrics of what does its work unasked.
    AwsOperator,
}

/// Tells a person what happens.
pub struct Announce {
    pub started: Box<dyn FnOnce(&Started) + Send>,
    pub progress: Box<dyn Fn(&str) + Send + Sync>,
    /// Called once, when the first runs can be taken.
    pub ready: Box<dyn FnOnce() + Send>,
}

/// What the local workers are, where the roles have any.
pub struct Programs {
    pub worker: WorkerProgram,
    pub tools: ToolProgram,
}

/// The children of this process.
struct Local {
    worker: LocalWorker,
    tools: LocalTools,
}

impl Local {
    /// Each has a folder of its own below `run` for its socket.
    fn bind(programs: Programs, run: &Path) -> Result<Self, Error> {
        Ok(Self {
            worker: LocalWorker::bind(programs.worker, &run.join("worker"))?,
            tools: LocalTools::bind(programs.tools, &run.join("tools"))?,
        })
    }
}

/// Runs the configured roles until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from starting, or a local worker that cannot be prepared.
pub async fn serve(config: Config, programs: Option<Programs>, announce: Announce) -> Result<(), Error> {
    let (draining, stop, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
    make_private(&config.data_dir)?;
    let _only_one = lock_folder(&config.data_dir)?;
    let metrics = Arc::new(Metrics::default());
    let progress = Arc::new(RwLock::new("starting".to_owned()));
    let run = config.data_dir.join("run");
    let programs = programs.filter(|_| config.roles.local_worker());
    let local = programs.map(|programs| Local::bind(programs, &run)).transpose()?;
    let mut workers: Vec<Arc<Worker>> = local.iter().map(|local| Arc::clone(&local.worker.worker)).collect();
    let mut tools: Vec<Arc<ToolWorker>> = local.iter().map(|local| Arc::clone(&local.tools.worker)).collect();
    for remote in &config.workers.remote {
        let worker = Worker::remote(remote, config.workers.token.as_ref())?;
        tasks.spawn(watch(Arc::clone(&worker), stop.clone()));
        workers.push(worker);
        let worker = ToolWorker::remote(remote, config.workers.token.as_ref())?;
        tasks.spawn(watch(Arc::clone(&worker), stop.clone()));
        tools.push(worker);
    }
    let parts =
        Parts { workers: workers.clone(), tools, metrics: Arc::clone(&metrics), progress: Arc::clone(&progress) };
    let (drain, listen, unasked) = (config.drain, config.listen, config.roles.carries_only());
    let (router, door, store) = parts.router(config, &tasks, &draining, &stop).await?;

    let failed = |source| Error::Listen { address: listen.to_string(), source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let signals = tokio::spawn(signals::listen(draining.clone())?);
    (announce.started)(&Started { address, door });
    match unasked {
        true => (announce.ready)(),
        false => drop(tasks.spawn(tell_ready(workers, stop.clone(), announce.ready))),
    }

    let supervised = supervise(local, metrics, progress, announce.progress, stop.clone(), drain);
    let mut supervisor = tokio::spawn(supervised);
    let mut server = tokio::spawn(accept(listener, router, draining.clone(), drain));
    let result = tokio::select! {
        _ = &mut server => Ok(()),
        ended = &mut supervisor => ended.unwrap_or_else(|e| Err(Error::Wire(e.to_string()))),
    };
    draining.cancel();
    if !server.is_finished() {
        server.abort();
    }
    stop.cancel();
    let result = if supervisor.is_finished() { result } else { supervisor.await.unwrap_or(Ok(())) };
    tasks.close();
    if tokio::time::timeout(END, tasks.wait()).await.is_err() {
        tracing::warn!("background tasks did not end in time");
    }
    if let Some(store) = store {
        store.close().await;
    }
    signals.abort();
    result
}

struct Parts {
    workers: Vec<Arc<Worker>>,
    tools: Vec<Arc<ToolWorker>>,
    metrics: Arc<Metrics>,
    progress: Arc<RwLock<String>>,
}

impl Parts {
    /// What the role answers with, and the store where it has one.
    async fn router(
        self,
        config: Config,
        tasks: &TaskTracker,
        draining: &CancellationToken,
        stop: &CancellationToken,
    ) -> Result<(Router, Door, Option<Store>), Error> {
        if let (true, Some(worker), Some(token)) =
            (config.roles.front_only(), self.workers.first(), &config.workers.token)
        {
            let tools = self.tools.first().cloned();
            return Ok((code_runner::front(Arc::clone(worker), tools, token), Door::CodeRunner, None));
        }
        let store = Store::open(&config.database).await?;
        let roles = config.roles.clone();
        let (key, folder) = (config.api_key.clone(), config.data_dir.clone());
        let parts = services::Parts {
            workers: Registry::new(self.workers),
            tool_workers: ToolWorkers::new(self.tools),
            metrics: self.metrics,
            progress: self.progress,
            ..services::Parts::new(config, store.clone())
        };
        let app = Controller::new(parts).await?;
        if roles.carries() {
            let name = "bringing images";
            tasks.spawn(keep_going(name, Arc::clone(&app), cloud::operate, stop.clone()));
        }
        if !roles.serves() {
            return Ok((api::operations(&app), Door::AwsOperator, Some(store)));
        }
        let key = accept_serve_key(key.as_ref(), &folder, &store).await?;
        tasks.spawn(reaper::keep_up(Arc::clone(&app), stop.clone()));
        tasks.spawn(keep_going("driving agents", Arc::clone(&app), driver::drive, stop.clone()));
        tasks.spawn(Arc::clone(&app.logs).run(draining.clone(), stop.clone()));
        for uplink in uplinks(&app) {
            tasks.spawn(keep_uplink(Arc::clone(&app), uplink, stop.clone()));
        }
        Ok((api::router(&app).0, Door::Api(key), Some(store)))
    }
}

/// Such a part ends only where it breaks, which takes no other part down: it is started again.
async fn keep_going<F: Future<Output = Result<(), Error>> + Send + 'static>(
    name: &'static str,
    app: App,
    part: fn(App, CancellationToken) -> F,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        match tokio::spawn(part(Arc::clone(&app), stop.clone())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(error = %error.chain(), "{name} did not start"),
            Err(error) => tracing::error!(%error, "{name} broke; it is started again"),
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn supervise(
    local: Option<Local>,
    metrics: Arc<Metrics>,
    shown: Arc<RwLock<String>>,
    tell: Box<dyn Fn(&str) + Send + Sync>,
    stop: CancellationToken,
    grace: Duration,
) -> Result<(), Error> {
    let Some(local) = local else {
        stop.cancelled().await;
        return Ok(());
    };
    let progress = Box::new(move |line: &str| {
        line.clone_into(&mut shown.write().unwrap_or_else(|e| e.into_inner()));
        tell(line);
    });
    // Tools do not wait for the kernels to be prepared.
    let tools = local.tools.supervise(Arc::clone(&metrics), stop.clone(), grace);
    let worker = local.worker.supervise(Supervision { metrics, progress, stop, grace });
    tokio::try_join!(worker, tools).map(|((), ())| ())
}

async fn tell_ready(workers: Vec<Arc<Worker>>, stop: CancellationToken, tell: Box<dyn FnOnce() + Send>) {
    while !workers.iter().any(|worker| worker.is_ready()) {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
            () = stop.cancelled() => return,
        }
    }
    tell();
}

/// Holds the data folder for this process alone: two would break each other's sessions.
fn lock_folder(folder: &Path) -> Result<File, Error> {
    let path = folder.join("lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(Error::file(&path))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        let taken = "another `cofferdam serve` uses this data folder; end it, or give this one its own with --data-dir";
        Error::File { path: folder.to_owned(), source: std::io::Error::other(taken) }
    })?;
    Ok(file)
}

/// Makes the data folder, for its owner only.
fn make_private(folder: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Error::file(folder))
}
