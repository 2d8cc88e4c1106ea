//! The local worker of tools, kept alive, and what compiles components for it.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::child::ToolProgram;
use super::components::Components;
use super::keeper::Keeper;
use super::run_folder::RunFolder;
use crate::Error;
use crate::metrics::Metrics;
use crate::workers::ToolWorker;

/// The socket of the local tool worker and the worker as it is called.
pub struct LocalTools {
    pub worker: Arc<ToolWorker>,
    program: ToolProgram,
    listener: UnixListener,
    _folder: RunFolder,
}

impl LocalTools {
    /// Binds the socket in `folder`, which is cleared for it and gone afterwards: nobody else may use it. Nothing runs
    /// yet.
    ///
    /// # Errors
    /// Where the folder or the socket cannot be made.
    pub fn bind(program: ToolProgram, folder: &Path) -> Result<Self, Error> {
        let folder = RunFolder::make(folder)?;
        let (socket, listener) = (folder.socket(), folder.bind()?);
        let components = Arc::new(Components::new(program.clone()));
        Ok(Self { worker: ToolWorker::local(socket, components), program, listener, _folder: folder })
    }

    /// Runs the worker until `stop`; then it has `grace` to let its calls end.
    ///
    /// # Errors
    /// Where no child can be started; deaths of the child are no errors.
    pub async fn supervise(self, metrics: Arc<Metrics>, stop: CancellationToken, grace: Duration) -> Result<(), Error> {
        let start = || self.program.start_worker(&self.listener);
        Keeper { charge: &self.worker, restarts: &metrics.tool_restarts, stop: &stop, grace }
            .keep(start, || Box::pin(async {}))
            .await
    }
}
