//! The parts of a command that need the runtime or the controller. The program implements them, so that this crate
//! compiles without either.

use std::any::Any;
use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;

/// The program around the commands, on this machine.
pub trait Machine {
    /// The data folder if neither a flag nor COFFERDAM_DATA_DIR names one.
    ///
    /// # Errors
    /// No home folder is known.
    fn default_data_dir(&self) -> anyhow::Result<PathBuf>;

    /// Starts logging to standard error, with `level` unless COFFERDAM_LOG names another. Dropping the result ends it.
    ///
    /// # Errors
    /// An invalid filter, or an exporter that cannot be started.
    fn start_log(&self, level: &str) -> anyhow::Result<Box<dyn Any>>;

    /// Starts a sandbox worker and waits until it is ready.
    ///
    /// # Errors
    /// Kernels are missing or broken, or the worker does not start; [`Cancelled`] by Ctrl-C.
    fn start_worker(&self, folders: WorkerFolders) -> BoxFuture<'_, anyhow::Result<Box<dyn LocalWorker>>>;

    /// Makes a component of a core module.
    ///
    /// # Errors
    /// The module does not implement the WIT.
    fn wrap(&self, module: Vec<u8>, wit: &Path, world: Option<&str>) -> anyhow::Result<Vec<u8>>;

    /// The kernels in a folder.
    ///
    /// # Errors
    /// There are none, or a manifest cannot be read.
    fn kernels(&self, kernels: &Path, cache: &Path) -> anyhow::Result<Vec<Kernel>>;
}

/// The user pressed Ctrl-C before there was anything to cancel but the start.
#[derive(Debug, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

/// A sandbox worker that serves one command.
pub trait LocalWorker {
    /// The Unix socket on which it serves the worker's wire.
    fn socket(&self) -> &Path;

    /// Ends it and waits until it is gone.
    fn stop(self: Box<Self>) -> BoxFuture<'static, ()>;
}

#[derive(Debug, Clone)]
pub struct WorkerFolders {
    pub kernels: PathBuf,
    pub cache: PathBuf,
    /// A private folder that is removed after the worker has ended.
    pub state: PathBuf,
}

/// An interpreter, as `cofferdam doctor` shows it.
#[derive(Debug, Clone)]
pub struct Kernel {
    pub name: String,
    pub version: String,
    /// Its code is compiled and its image made.
    pub prepared: bool,
}
