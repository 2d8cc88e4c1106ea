//! Starts this program again as a worker: the arguments that the controller's supervisor gives to the runtime's workers,
//! and the worker of a single command.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use cofferdam_cli::{Cancelled, LocalWorker, WorkerFolders};
use cofferdam_core::chain;
use cofferdam_runtime::kernel::manifest::Manifest;
use cofferdam_runtime::tool_worker::ToolWorkerConfig;
use cofferdam_runtime::worker::WorkerConfig;
pub(crate) use cofferdam_workers::supervisor::UNPREPARED;
use cofferdam_workers::supervisor::{self, STARTING, Supervision, ToolProgram, WorkerProgram};
use cofferdam_workers::{Error, RestartMetrics};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::telemetry::{LOG, LogFormat, env, tell};

/// The only variables that a worker inherits.
const PASSED_ON: [&str; 2] = [LOG, "RUST_BACKTRACE"];
/// The running file, even if another version has replaced it on disk.
const ITSELF: &str = "/proc/self/exe";
/// The time after a child's end in which the signal that ended it may still arrive here.
const SIGNAL_LAG: Duration = Duration::from_millis(100);
/// The time for a command's own worker to end. Its runs are over by then.
const END_GRACE: Duration = Duration::from_secs(2);

/// The arguments of a child: its command, its configuration, its parent.
fn arguments(command: &str, config: &impl serde::Serialize, log: LogFormat) -> anyhow::Result<Vec<OsString>> {
    let json = serde_json::to_string(config).context("the worker's configuration")?;
    let mut args: Vec<OsString> = ["internal", command, "--config", &json].map(Into::into).to_vec();
    args.extend(["--parent".into(), std::process::id().to_string().into()]);
    args.extend(["--log-format".into(), log.name().into()]);
    Ok(args)
}

fn variables() -> Vec<(OsString, OsString)> {
    PASSED_ON.iter().filter_map(|name| Some(((*name).into(), env(name)?.into()))).collect()
}

/// This program as a worker of snippets.
pub(crate) fn worker_program(config: &WorkerConfig, log: LogFormat) -> anyhow::Result<WorkerProgram> {
    Ok(WorkerProgram {
        program: ITSELF.into(),
        prepare: arguments("prepare", config, log)?,
        worker: arguments("worker", config, log)?,
        env: variables(),
    })
}

/// This program as a worker of tools, and as the compiler of their components.
pub(crate) fn tool_program(config: &ToolWorkerConfig, log: LogFormat) -> anyhow::Result<ToolProgram> {
    Ok(ToolProgram {
        program: ITSELF.into(),
        worker: arguments("tool-worker", config, log)?,
        compile: arguments("compile", config, log)?,
        env: variables(),
    })
}

/// Reads the manifests of all kernels in a folder, so that an error is reported before anything starts.
pub(crate) fn check_kernels(folder: &Path) -> anyhow::Result<()> {
    for kernel in Manifest::folders(folder)? {
        Manifest::read(&kernel)?;
    }
    Ok(())
}

/// The worker of a single command.
struct OwnWorker {
    socket: PathBuf,
    stop: CancellationToken,
    supervisor: JoinHandle<Result<(), Error>>,
}

/// Ends a worker that is not wanted any more. Its processes are gone before its folder is removed.
async fn cancel(stop: CancellationToken, supervisor: JoinHandle<Result<(), Error>>) -> anyhow::Error {
    stop.cancel();
    // The command ends as cancelled, however the worker ended.
    let _ = tokio::time::timeout(2 * END_GRACE, supervisor).await;
    Cancelled.into()
}

/// Starts a worker for a single command and waits until it is ready.
pub(crate) async fn start_own(folders: WorkerFolders) -> anyhow::Result<Box<dyn LocalWorker>> {
    check_kernels(&folders.kernels)?;
    let config = WorkerConfig {
        kernels_dir: folders.kernels,
        cache_dir: folders.cache,
        state_dir: folders.state.join("state"),
        // It serves one run at a time, and few slots make a quick start.
        max_runs: 2,
        max_waiting: 2,
        ..WorkerConfig::default()
    };
    let mut program = worker_program(&config, LogFormat::fitting())?;
    if env(LOG).is_none() {
        program.env.push((LOG.into(), "error".into()));
    }
    let local = supervisor::LocalWorker::bind(program, &folders.state.join("run"))?;
    let (socket, worker, stop) = (local.socket(), Arc::clone(local.worker()), CancellationToken::new());
    // Only long work is worth a line, and the start itself is quick.
    let progress = Box::new(|line: &str| {
        if line != STARTING {
            tell(line);
        }
    });
    let supervision =
        Supervision { metrics: RestartMetrics::default(), progress, stop: stop.clone(), grace: END_GRACE };
    let mut supervisor = tokio::spawn(local.supervise(supervision));
    // One for the whole wait: a signal between two of them would be lost.
    let mut ctrl_c = std::pin::pin!(tokio::signal::ctrl_c());
    while !worker.is_ready() {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(2)) => {}
            ended = &mut supervisor => {
                // Ctrl-C goes to the children of a terminal's command as well, and their end may be seen first.
                if tokio::time::timeout(SIGNAL_LAG, ctrl_c).await.is_ok() {
                    return Err(Cancelled.into());
                }
                ended?.map_err(|error| anyhow::anyhow!(chain(&error)))?;
                bail!("the worker ended before it was ready");
            }
            _ = &mut ctrl_c => return Err(cancel(stop, supervisor).await),
        }
    }
    Ok(Box::new(OwnWorker { socket, stop, supervisor }))
}

impl LocalWorker for OwnWorker {
    fn socket(&self) -> &Path {
        &self.socket
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, ()> {
        async move {
            self.stop.cancel();
            if let Ok(Err(error)) = self.supervisor.await {
                tracing::warn!(error = %chain(&error), "the worker did not end cleanly");
            }
        }
        .boxed()
    }
}
