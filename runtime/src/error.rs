//! Failures of the runtime itself. A guest's failures are outcomes, not errors.

use std::io;
use std::path::{Path, PathBuf};

use cofferdam_contract::Problem;

/// A kernel cannot be loaded or prepared.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    #[error("no kernels in {}: run `make kernels`, or pass their folder with --kernels", .0.display())]
    None(PathBuf),
    #[error("{}: {reason}", path.display())]
    Manifest { path: PathBuf, reason: String },
    #[error("the kernel's module cannot be used: {0}")]
    Module(String),
    #[error("the kernel's image could not be made: {0}")]
    Image(String),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: damaged: {source}", path.display())]
    Damaged { path: PathBuf, source: io::Error },
    #[error("the engine failed: {0:#}")]
    Engine(wasmtime::Error),
}

impl KernelError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

impl From<wasmtime::Error> for KernelError {
    fn from(error: wasmtime::Error) -> Self {
        Self::Engine(error)
    }
}

/// The runtime could not carry out a request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("the worker could not be confined: {0}")]
    Confine(String),
    #[error("the sandbox could not be made: {0:#}")]
    Sandbox(wasmtime::Error),
    #[error("{context}: {source}")]
    Io { context: &'static str, source: io::Error },
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
}

impl Error {
    pub(crate) fn io(context: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { context, source }
    }

    /// The problem for the caller. For our own failures it only says that they happened; the log has the details.
    pub fn to_problem(&self) -> Problem {
        match self {
            Self::Refused(problem) => (**problem).clone(),
            _ => Problem::internal("the sandbox failed; the server's log says why"),
        }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}
