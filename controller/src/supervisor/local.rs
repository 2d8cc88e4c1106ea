//! The local worker of snippets: prepared, then kept alive.

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::child::WorkerProgram;
use super::keeper::Keeper;
use super::prepare::prepare;
use crate::Error;
use crate::metrics::Metrics;
use crate::workers::Worker;

/// The line of progress after the prepare step.
pub const STARTING: &str = "starting the worker";

/// The socket of the local worker and the worker as the registry knows it.
pub struct LocalWorker {
    pub worker: Arc<Worker>,
    program: WorkerProgram,
    listener: UnixListener,
    folder: TempDir,
}

/// What a supervisor reports to and is told by.
pub struct Supervision {
    pub metrics: Arc<Metrics>,
    /// Gets the lines of the prepare step.
    pub progress: Box<dyn Fn(&str) + Send + Sync>,
    /// Ends the worker, in order.
    pub stop: CancellationToken,
    /// How long the worker may take to end, in which it suspends its sessions.
    pub grace: Duration,
}

impl LocalWorker {
    /// Binds the socket in a private folder. Nothing runs yet.
    ///
    /// # Errors
    /// Where the folder or the socket cannot be made.
    pub fn bind(program: WorkerProgram) -> Result<Self, Error> {
        let folder =
            tempfile::Builder::new().prefix("cofferdam-").tempdir().map_err(Error::file(std::env::temp_dir()))?;
        let socket = folder.path().join("worker.sock");
        let listener = UnixListener::bind(&socket).map_err(Error::file(&socket))?;
        Ok(Self { worker: Worker::local(socket), program, listener, folder })
    }

    /// The socket's path.
    pub fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("worker.sock")
    }

    /// Runs the worker until `stop`.
    ///
    /// # Errors
    /// Where preparing fails or no child can be started; deaths of the child are no errors.
    pub async fn supervise(self, supervision: Supervision) -> Result<(), Error> {
        tokio::select! {
            prepared = prepare(&self.program, &*supervision.progress) => prepared?,
            () = supervision.stop.cancelled() => return Ok(()),
        }
        (supervision.progress)(STARTING);
        let start = || self.program.start_worker(&self.listener);
        let Supervision { metrics, stop, grace, .. } = &supervision;
        Keeper { charge: &self.worker, restarts: &metrics.restarts, stop, grace: *grace }.keep(start).await
    }
}

#[cfg(test)]
mod tests;
