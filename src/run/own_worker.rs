//! A worker for this one command: prepared where the cache lacks something, in a private folder, gone at the end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_controller::Error;
use cofferdam_controller::metrics::Metrics;
use cofferdam_controller::supervisor::{LocalWorker, Supervision};
use cofferdam_runtime::worker::WorkerConfig;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::own_folder::OwnFolder;
use crate::folders::{Folders, data_dir};
use crate::telemetry::LogFormat;
use crate::worker_program::worker_program;

/// Its runs are over when it is told to end; it has only itself to put away.
const GRACE: Duration = Duration::from_secs(2);

pub struct OwnWorker {
    pub socket: PathBuf,
    stop: CancellationToken,
    supervisor: JoinHandle<Result<(), Error>>,
    _state: OwnFolder,
}

impl OwnWorker {
    /// Starts it and waits until it is ready.
    pub async fn start(folders: &Folders) -> anyhow::Result<Self> {
        let state = OwnFolder::make(&std::env::temp_dir())?;
        let config = WorkerConfig {
            kernels_dir: folders.kernels()?,
            cache_dir: folders.cache(&data_dir()?)?,
            state_dir: state.path().join("state"),
            // One run at a time is all that comes; few slots mean a quick start.
            max_runs: 2,
            max_waiting: 2,
            ..WorkerConfig::default()
        };
        let program = worker_program(&config, LogFormat::fitting(), true)?;
        let local = LocalWorker::bind(program, &state.path().join("run"))?;
        let (socket, worker, stop) = (local.socket(), Arc::clone(&local.worker), CancellationToken::new());
        // The start itself is quick; only work that takes a while is worth a line.
        let progress = Box::new(|line: &str| {
            if line != cofferdam_controller::supervisor::STARTING {
                eprintln!("{line}");
            }
        });
        let supervision =
            Supervision { metrics: Arc::new(Metrics::default()), progress, stop: stop.clone(), grace: GRACE };
        let mut supervisor = tokio::spawn(local.supervise(supervision));
        while !worker.is_ready() {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(2)) => {}
                ended = &mut supervisor => {
                    ended?.map_err(|error| anyhow::anyhow!(error.chain()))?;
                    anyhow::bail!("the worker ended before it was ready");
                }
                _ = tokio::signal::ctrl_c() => anyhow::bail!("cancelled"),
            }
        }
        Ok(Self { socket, stop, supervisor, _state: state })
    }

    pub async fn end(self) {
        self.stop.cancel();
        if let Ok(Err(error)) = self.supervisor.await {
            tracing::warn!(error = %error.chain(), "the worker did not end in order");
        }
    }
}
