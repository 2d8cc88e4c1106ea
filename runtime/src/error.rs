//! Failures of the runtime itself. A guest's failures are outcomes, not errors.

use std::io;
use std::path::{Path, PathBuf};

use cofferdam_contract::Problem;
use rustix::io::Errno;

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
            Self::Io { source, .. } if let Some(what) = used_up(source) => Problem::storage_full(what),
            _ => Problem::internal("the sandbox failed; the server's log says why"),
        }
    }
}

/// Says which of the machine's means are used up, and what to do about it.
fn used_up(error: &io::Error) -> Option<&'static str> {
    let files = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    match error.kind() {
        io::ErrorKind::StorageFull => {
            Some("the disk of the worker's state folder is full: delete sessions or snapshots, or enlarge the disk")
        }
        io::ErrorKind::QuotaExceeded => Some(
            "the disk quota of the worker's state folder is reached: delete sessions or snapshots, or raise the quota",
        ),
        io::ErrorKind::OutOfMemory => Some(
            "the worker has no memory, or no memory areas (vm.max_map_count), left: suspend or delete sessions, or try \
             again later",
        ),
        _ if error.raw_os_error().is_some_and(|code| files.contains(&code)) => Some(
            "the worker has no open files left (its limit is `nofile`): suspend or delete sessions, or try again later",
        ),
        _ => None,
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_full_is_said() {
        for (code, kind, word) in [
            (Errno::NOSPC, "storage-full", "disk of"),
            (Errno::DQUOT, "storage-full", "quota"),
            (Errno::MFILE, "storage-full", "open files"),
            (Errno::NFILE, "storage-full", "open files"),
            (Errno::NOMEM, "storage-full", "memory"),
            (Errno::IO, "internal", "log"),
        ] {
            let source = io::Error::from_raw_os_error(code.raw_os_error());
            let problem = Error::Io { context: "a session's state", source }.to_problem();
            assert_eq!(problem.kind(), kind, "{code:?}");
            assert!(problem.detail.contains(word), "{}", problem.detail);
        }
    }
}
