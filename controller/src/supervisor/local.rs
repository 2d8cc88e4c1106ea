//! The local worker of snippets: prepared, then kept alive; prepared again where it finds that its kernels are not.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::child::WorkerProgram;
use super::keeper::{Keeper, LONGEST_PAUSE};
use super::prepare::prepare;
use super::run_folder::RunFolder;
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
    folder: RunFolder,
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
    /// Binds the socket in `folder`, which is cleared for it and gone afterwards: nobody else may use it. Nothing runs
    /// yet.
    ///
    /// # Errors
    /// Where the folder or the socket cannot be made.
    pub fn bind(program: WorkerProgram, folder: &Path) -> Result<Self, Error> {
        let folder = RunFolder::make(folder)?;
        let listener = folder.bind()?;
        Ok(Self { worker: Worker::local(folder.socket()), program, listener, folder })
    }

    /// The socket's path, for this process and while the worker is supervised.
    pub fn socket(&self) -> std::path::PathBuf {
        self.folder.socket()
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
        let keeper = Keeper { charge: &self.worker, restarts: &metrics.restarts, stop, grace: *grace };
        keeper.keep(start, || Box::pin(self.prepare_again(&supervision))).await
    }

    /// Kernels or cache are not what they were at the start. Where they cannot be prepared now, they may be later: a
    /// build may be under way.
    async fn prepare_again(&self, supervision: &Supervision) {
        tracing::warn!("kernels or cache have changed under the running server; preparing them again");
        let prepared = tokio::select! {
            prepared = prepare(&self.program, &*supervision.progress) => prepared,
            () = supervision.stop.cancelled() => return,
        };
        if let Err(error) = prepared {
            let about =
                "the kernels cannot be prepared as they are now, so no code can run: mend them (`make kernels`)";
            tracing::error!(error = %error.chain(), "{about}; it is tried again, or restart `cofferdam serve`");
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
