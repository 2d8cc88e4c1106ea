//! The local worker of snippets: prepared, then kept alive; prepared again when it finds that its kernels changed.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_core::chain;
use tokio_util::sync::CancellationToken;

use super::child::WorkerProgram;
use super::keeper::{Keeper, LONGEST_PAUSE};
use super::prepare::prepare;
use super::run_folder::RunFolder;
use crate::{Error, RestartMetrics, Worker};

/// The line of progress after the prepare step.
pub const STARTING: &str = "starting the worker";

/// The local worker of snippets and its socket.
pub struct LocalWorker {
    worker: Arc<Worker>,
    program: WorkerProgram,
    listener: UnixListener,
    folder: RunFolder,
}

/// The surroundings of a supervised worker.
pub struct Supervision {
    pub metrics: RestartMetrics,
    /// Receives the lines of the prepare step.
    pub progress: Box<dyn Fn(&str) + Send + Sync>,
    /// Ends the worker, in order.
    pub stop: CancellationToken,
    /// The time for the worker to end, in which it suspends its sessions.
    pub grace: Duration,
}

impl LocalWorker {
    /// Binds the socket in `folder`, which is cleared first and removed afterwards: nothing else may use it. Starts
    /// nothing yet.
    ///
    /// # Errors
    /// The folder or the socket cannot be made.
    pub fn bind(program: WorkerProgram, folder: &Path) -> Result<Self, Error> {
        let folder = RunFolder::make(folder)?;
        let listener = folder.bind()?;
        Ok(Self { worker: Worker::local(folder.socket()), program, listener, folder })
    }

    /// The worker, for calls.
    pub fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }

    /// The socket's path, valid in this process while the worker is supervised.
    pub fn socket(&self) -> std::path::PathBuf {
        self.folder.socket()
    }

    /// Runs the worker until `stop`.
    ///
    /// # Errors
    /// Preparing fails, or no child can be started. A death of the child is not an error.
    pub async fn supervise(self, supervision: Supervision) -> Result<(), Error> {
        tokio::select! {
            prepared = prepare(&self.program, &*supervision.progress) => prepared?,
            () = supervision.stop.cancelled() => return Ok(()),
        }
        (supervision.progress)(STARTING);
        let start = || self.program.start_worker(&self.listener);
        let Supervision { metrics, stop, grace, .. } = &supervision;
        let keeper = Keeper { charge: &self.worker, restarts: &metrics.worker, stop, grace: *grace };
        keeper.keep(start, || Box::pin(self.prepare_again(&supervision))).await
    }

    /// Prepares kernels that changed since the start. If that fails it may succeed later: a build may be under way.
    async fn prepare_again(&self, supervision: &Supervision) {
        tracing::warn!("kernels or cache have changed under the running server; preparing them again");
        let prepared = tokio::select! {
            prepared = prepare(&self.program, &*supervision.progress) => prepared,
            () = supervision.stop.cancelled() => return,
        };
        if let Err(error) = prepared {
            let about =
                "the kernels cannot be prepared as they are now, so no code can run: repair them (`make kernels`)";
            tracing::error!(error = chain(&error), "{about}; retrying, or restart `cofferdam serve`");
            (supervision.progress)(about);
            tokio::select! {
                () = tokio::time::sleep(LONGEST_PAUSE) => {}
                () = supervision.stop.cancelled() => {}
            }
        }
        (supervision.progress)(STARTING);
    }
}

#[cfg(test)]
mod tests;
