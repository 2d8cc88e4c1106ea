//! `cofferdam serve`: starts the parts, waits, and stops them in reverse order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use cofferdam_contract::OrganizationId;
use cofferdam_core::chain;
use cofferdam_gateway::{keep_uplink, uplinks};
use cofferdam_identity::{KeySource, accept_serve_key};
use cofferdam_store::Store;
use cofferdam_tasks::{LaneLimits, Tasks};
use cofferdam_usage::LAST_TIMEOUT;
use cofferdam_workers::supervisor::{LocalTools, LocalWorker, Supervision, ToolProgram, WorkerProgram};
use cofferdam_workers::{RestartMetrics, ToolWorker, Worker, watch};
use parking_lot::RwLock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::{Bounds, accept_within};
use super::folder::{lock_folder, make_private, worker_home};
use super::keep_going::keep_going;
use super::{code_runner, open_files, signals};
use crate::config::Config;
use crate::{Controller, Error, Machines, World};

/// The time that background tasks have to end when they are stopped: longer than the last of them may take.
const STOP_TIMEOUT: Duration = LAST_TIMEOUT.saturating_add(Duration::from_secs(2));
/// The time that tasks which did not come to a step's end have, to be given back.
const AGENTS_END_TIMEOUT: Duration = Duration::from_secs(4);
/// The interval at which a start checks if a worker has become ready.
const READY_INTERVAL: Duration = Duration::from_millis(20);

/// The state once the listener is open.
pub struct Started {
    pub address: SocketAddr,
    pub door: Door,
    /// The upstreams of models that the organization `default` has, the operator's among them; `None` if no models are served, or
    /// the settings could not be read.
    pub upstreams: Option<Vec<String>>,
}

/// The service behind the listener.
pub enum Door {
    /// The API, and the source of its first key.
    Api(KeySource),
    /// Workers, for controllers that have the token.
    CodeRunner,
    /// Health and metrics of a process without an API.
    AwsOperator,
    /// The addresses of models, and health and metrics.
    AiGateway,
    /// Health and metrics of a process that runs agents' tasks.
    AgentWorker,
}

/// Callbacks that report the start to the operator.
pub struct Announce {
    pub started: Box<dyn FnOnce(&Started) + Send>,
    pub progress: Box<dyn Fn(&str) + Send + Sync>,
    /// Called once, when runs are accepted.
    pub ready: Box<dyn FnOnce() + Send>,
}

/// The programs of the local workers, for roles that have any.
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
    /// Each gets a folder of its own below `run` for its socket.
    fn bind(programs: Programs, run: &Path) -> Result<Self, Error> {
        Ok(Self {
            worker: LocalWorker::bind(programs.worker, &run.join("worker"))?,
            tools: LocalTools::bind(programs.tools, &run.join("tools"))?,
        })
    }
}

/// The background tasks of a process, and the tokens that stop them.
struct Background {
    tasks: TaskTracker,
    /// Requests under way finish; no new ones are accepted.
    draining: CancellationToken,
    /// Everything stops.
    stop: CancellationToken,
    /// Agents' tasks: they end before everything stops.
    agents: TaskTracker,
}

/// Runs the configured roles until SIGTERM or SIGINT.
///
/// # Errors
/// An invalid setting, a port or data folder in use, or a local worker that cannot be started.
pub async fn serve(config: Config, programs: Option<Programs>, announce: Announce) -> Result<(), Error> {
    open_files::raise();
    let background = Background {
        tasks: TaskTracker::new(),
        draining: CancellationToken::new(),
        stop: CancellationToken::new(),
        agents: TaskTracker::new(),
    };
    let Background { tasks, draining, stop, agents } = &background;
    let _only_one = match config.roles.keeps_files() {
        true => {
            make_private(&config.data_dir)?;
            Some(lock_folder(&config.data_dir)?)
        }
        false => None,
    };
    let restarts = RestartMetrics::default();
    let progress = Arc::new(RwLock::new("starting".to_owned()));
    let programs = programs.filter(|_| config.roles.local_worker());
    let local = programs.map(|programs| Local::bind(programs, &config.data_dir.join("run"))).transpose()?;
    if let (Some(local), false) = (&local, config.database.is_file()) {
        local.worker.worker().set_home(worker_home(&config.data_dir)?);
    }
    let mut machines = Machines {
        workers: local.iter().map(|local| Arc::clone(local.worker.worker())).collect(),
        tools: local.iter().map(|local| Arc::clone(local.tools.worker())).collect(),
        restarts: restarts.clone(),
        progress: Arc::clone(&progress),
    };
    add_remote(&mut machines, &config, &background)?;
    let workers = machines.workers.clone();
    let (drain, listen, unasked) = (config.drain, config.listen, !config.roles.serves() && !config.roles.front_only());
    let Opened { router, door, store, upstreams } = open(config, machines, &background).await?;

    let bounds = match door {
        Door::CodeRunner => Bounds::for_controllers(),
        Door::Api(_) | Door::AwsOperator | Door::AiGateway | Door::AgentWorker => Bounds::for_clients(),
    };
    let failed = |source| Error::Listen { address: listen.to_string(), source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let signals = tokio::spawn(signals::listen(draining.clone())?);
    (announce.started)(&Started { address, door, upstreams });
    match unasked {
        true => (announce.ready)(),
        false => drop(tasks.spawn(tell_ready(workers, stop.clone(), announce.ready))),
    }

    let supervised = supervise(local, restarts, progress, announce.progress, stop.clone(), drain);
    let mut supervisor = tokio::spawn(supervised);
    let mut server = tokio::spawn(accept_within(bounds, listener, router, draining.clone(), drain));
    let result = tokio::select! {
        _ = &mut server => Ok(()),
        ended = &mut supervisor => ended.unwrap_or_else(|broke| Err(broke.into())),
    };
    draining.cancel();
    if !server.is_finished() {
        server.abort();
    }
    agents.close();
    if tokio::time::timeout(drain.saturating_add(AGENTS_END_TIMEOUT), agents.wait()).await.is_err() {
        tracing::warn!("agents' tasks did not come to a step's end in time; others go on with them");
    }
    stop.cancel();
    let result = if supervisor.is_finished() { result } else { supervisor.await.unwrap_or(Ok(())) };
    tasks.close();
    if tokio::time::timeout(STOP_TIMEOUT, tasks.wait()).await.is_err() {
        tracing::warn!("background tasks did not end in time");
    }
    if let Some(store) = store {
        store.close().await;
    }
    signals.abort();
    result
}

/// Adds the workers on other machines, and starts watching them.
fn add_remote(machines: &mut Machines, config: &Config, background: &Background) -> Result<(), Error> {
    for remote in &config.workers.remote {
        let worker = Worker::remote(remote, config.workers.token.as_ref())?;
        background.tasks.spawn(watch(Arc::clone(&worker), background.stop.clone()));
        machines.workers.push(worker);
        let worker = ToolWorker::remote(remote, config.workers.token.as_ref())?;
        background.tasks.spawn(watch(Arc::clone(&worker), background.stop.clone()));
        machines.tools.push(worker);
    }
    Ok(())
}

/// The part that the roles of this process serve.
struct Opened {
    router: Router,
    door: Door,
    store: Option<Store>,
    upstreams: Option<Vec<String>>,
}

/// Opens what the roles need, and starts their background tasks.
async fn open(config: Config, machines: Machines, background: &Background) -> Result<Opened, Error> {
    if let (true, Some(worker), Some(token)) =
        (config.roles.front_only(), machines.workers.first(), &config.workers.token)
    {
        let tools = machines.tools.first().cloned();
        let router = code_runner::front(Arc::clone(worker), tools, token);
        return Ok(Opened { router, door: Door::CodeRunner, store: None, upstreams: None });
    }
    let store = Store::open(&config.database).await?;
    let roles = config.roles.clone();
    // Before the keys are read, so that a replaced key is unknown from the first request on.
    let key = match roles.serves() {
        true => Some(accept_serve_key(config.api_key.as_ref(), &config.data_dir, &store).await?),
        false => None,
    };
    let controller = Arc::new(Controller::new(config, store.clone(), machines, World::default()).await?);
    let Background { tasks, draining, stop, agents } = background;
    let cache = controller.cache.clone();
    tasks.spawn(keep_going("keeping Redis", stop.clone(), move |stop| Ok(cache.clone().keep(stop))));
    if roles.carries() {
        let parts = Arc::clone(&controller);
        tasks.spawn(keep_going("carrying images", stop.clone(), move |stop| Ok(parts.operator()?.operate(stop))));
    }
    let mut upstreams = None;
    if roles.runs_agents() {
        keep_tasks(&controller, background, roles.serves());
        agents.spawn(Arc::clone(&controller.work).run(draining.clone(), stop.clone()));
        if !roles.serves() {
            reach_workers(&controller, background);
        }
        if !roles.serves_models() {
            tasks.spawn(Arc::clone(&controller.keyring).keep_fresh(stop.clone()));
            keep_models(&controller, background);
        }
    }
    if roles.serves_models() {
        controller.secrets.warn_of_another_key().await?;
        tasks.spawn(Arc::clone(&controller.keyring).keep_fresh(stop.clone()));
        let audit = Arc::clone(&controller.audit);
        tasks.spawn(keep_going("keeping the audit log", stop.clone(), move |stop| Ok(Arc::clone(&audit).keep(stop))));
        keep_models(&controller, background);
        upstreams = upstreams_of_default(&controller).await;
    }
    let opened = move |router, door| Ok(Opened { router, door, store: Some(store), upstreams });
    let key = match key {
        Some(key) => key,
        None if roles.models_only() => return opened(controller.models_only(), Door::AiGateway),
        None if roles.runs_agents() => return opened(controller.operations(), Door::AgentWorker),
        None => return opened(controller.operations(), Door::AwsOperator),
    };
    tasks.spawn(Arc::clone(&controller.sandboxes).keep_reaped(stop.clone()));
    tasks.spawn(Arc::clone(&controller.tools).keep_swept(stop.clone()));
    let parts = Arc::clone(&controller);
    tasks.spawn(keep_going("driving agents", stop.clone(), move |stop| Ok(parts.driver()?.drive(stop))));
    tasks.spawn(Arc::clone(&controller.logs).run(draining.clone(), stop.clone()));
    if !roles.runs_agents() {
        keep_tasks(&controller, background, true);
    }
    reach_workers(&controller, background);
    opened(controller.router().0, Door::Api(key))
}

/// Starts the ways of sandboxes out, over every worker that this process knows.
fn reach_workers(controller: &Controller, Background { tasks, stop, .. }: &Background) {
    for uplink in uplinks(&controller.status.workers, &controller.status.tool_workers) {
        tasks.spawn(keep_uplink(Arc::clone(&controller.gateway), uplink, stop.clone()));
    }
}

/// The names of the upstreams that the organization `default` has, which the log is told as well.
async fn upstreams_of_default(controller: &Controller) -> Option<Vec<String>> {
    match controller.models.settings().of(&OrganizationId::default_organization()).await {
        Ok(catalogue) => {
            let upstreams: Vec<String> = catalogue.upstreams.keys().cloned().collect();
            tracing::info!(?upstreams, "models of the organization default");
            Some(upstreams)
        }
        // Calls say what is wrong; other organizations may be well.
        Err(error) => {
            tracing::error!(error = chain(&error), "the model settings of the organization default cannot be read");
            None
        }
    }
}

/// Starts what calls of models need in the background.
fn keep_models(controller: &Controller, Background { tasks, stop, .. }: &Background) {
    let run_tokens = Arc::clone(&controller.run_tokens);
    tasks.spawn(keep_going("ending run tokens", stop.clone(), move |stop| Ok(Arc::clone(&run_tokens).keep(stop))));
    let settings = Arc::clone(controller.models.settings());
    tasks.spawn(keep_going("reading models' settings", stop.clone(), move |stop| Ok(Arc::clone(&settings).keep(stop))));
    let accounts = Arc::clone(controller.models.accounts());
    tasks.spawn(keep_going("keeping accounts", stop.clone(), move |stop| Ok(Arc::clone(&accounts).keep(stop))));
}

/// Starts what agents' tasks need in the background: what works on them, and with `serves` what serves and keeps all of them.
fn keep_tasks(controller: &Controller, Background { tasks, draining, stop, .. }: &Background, serves: bool) {
    let service = &controller.tasks;
    macro_rules! keep {
        ($name:literal, $stop:expr, $part:expr) => {
            let service = Arc::clone(service);
            tasks.spawn(keep_going($name, $stop.clone(), move |stop| Ok($part(Arc::clone(&service), stop))));
        };
    }
    tasks.spawn(Arc::clone(service).keep_writer(draining.clone(), stop.clone()));
    if serves {
        keep!("following threads", stop, Tasks::keep_following);
        keep!("moving due tasks", stop, Tasks::keep_timers);
        keep!("taking tasks back", stop, Tasks::keep_taking_back);
        keep!("indexing messages", stop, Tasks::keep_indexing);
        keep!("deleting old threads", stop, Tasks::keep_swept);
    }
    keep!("beating", stop, Tasks::keep_beating);
    keep!("hearing what is asked of tasks", stop, Tasks::keep_asked);
    let lanes: Arc<dyn LaneLimits> = Arc::new(controller.lanes());
    keep!("handing out tasks", draining, |service, stop| Tasks::keep_handing_out(service, Arc::clone(&lanes), stop));
}

async fn supervise(
    local: Option<Local>,
    metrics: RestartMetrics,
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
        line.clone_into(&mut shown.write());
        tell(line);
    });
    // Tools do not wait until the kernels are prepared.
    let tools = local.tools.supervise(metrics.clone(), stop.clone(), grace);
    let worker = local.worker.supervise(Supervision { metrics, progress, stop, grace });
    tokio::try_join!(worker, tools)?;
    Ok(())
}

async fn tell_ready(workers: Vec<Arc<Worker>>, stop: CancellationToken, tell: Box<dyn FnOnce() + Send>) {
    while !workers.iter().any(|worker| worker.is_ready()) {
        tokio::select! {
            () = tokio::time::sleep(READY_INTERVAL) => {}
            () = stop.cancelled() => return,
        }
    }
    tell();
}
