//! Why a call to a worker fails, or why a worker on this machine does not run.

use std::path::PathBuf;
use std::process::ExitStatus;

use cofferdam_contract::Problem;
use cofferdam_core::{Blame, ConfigError, Failure};

use crate::link::LinkError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The worker refused the call, or no worker can take it; the problem is safe to show.
    #[error(transparent)]
    Refused(Box<Problem>),
    /// A setting of the operator's is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The worker broke the protocol between it and us.
    #[error("the worker's answer could not be read: {0}")]
    Wire(String),
    /// The worker did not answer a health call or an uplink request.
    #[error("the worker did not answer")]
    Link(#[from] LinkError),
    #[error("the worker did not answer in time")]
    Timeout,
    /// A request of ours is not valid HTTP.
    #[error("a request to a worker could not be built")]
    Request(#[from] http::Error),
    /// A request of ours could not be serialized.
    #[error("a request to a worker could not be encoded")]
    Encode(#[source] serde_json::Error),
    /// A child process could not be started or watched.
    #[error("{what}: {source}")]
    Process { what: &'static str, source: std::io::Error },
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    /// The kernels could not be made ready; the child's standard error says why.
    #[error("preparing the kernels failed: the child process ended with {0}")]
    Prepare(ExitStatus),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

impl Failure for Error {
    fn blame(&self) -> Blame<'_> {
        match self {
            Self::Refused(problem) => Blame::Refused(problem),
            Self::Wire(_) | Self::Link(_) | Self::Timeout => Blame::Worker,
            _ => Blame::Internal,
        }
    }
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    pub(crate) fn process(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Process { what, source }
    }
}
