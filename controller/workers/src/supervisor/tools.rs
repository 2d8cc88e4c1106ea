//! The local worker of tools, kept alive, and the compiler of its components.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::child::ToolProgram;
use super::components::Components;
use super::keeper::Keeper;
use super::run_folder::RunFolder;
use crate::{Error, RestartMetrics, ToolWorker};

/// The local worker of tools and its socket.
pub struct LocalTools {
    worker: Arc<ToolWorker>,
    program: ToolProgram,
    listener: UnixListener,
    _folder: RunFolder,
}

impl LocalTools {
    /// Binds the socket in `folder`, which is cleared first and removed afterwards: nothing else may use it. Starts
    /// nothing yet.
    ///
    /// # Errors
    /// The folder or the socket cannot be made.
    pub fn bind(program: ToolProgram, folder: &Path) -> Result<Self, Error> {
        let folder = RunFolder::make(folder)?;
        let (socket, listener) = (folder.socket(), folder.bind()?);
        let components = Arc::new(Components::new(program.clone()));
        Ok(Self { worker: ToolWorker::local(socket, components), program, listener, _folder: folder })
    }

    /// The worker, for calls.
    pub fn worker(&self) -> &Arc<ToolWorker> {
        &self.worker
    }

    /// Runs the worker until `stop`; then it has `grace` to let its calls end.
    ///
    /// # Errors
    /// No child can be started. A death of the child is not an error.
    pub async fn supervise(
        self,
        metrics: RestartMetrics,
        stop: CancellationToken,
        grace: Duration,
    ) -> Result<(), Error> {
        let start = || self.program.start_worker(&self.listener);
        Keeper { charge: &self.worker, restarts: &metrics.tool_worker, stop: &stop, grace }
            .keep(start, || Box::pin(async {}))
            .await
    }
}
