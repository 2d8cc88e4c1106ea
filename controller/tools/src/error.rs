//! Why a deployment or a call of a tool fails.

use std::path::PathBuf;

use cofferdam_contract::Problem;
use cofferdam_core::{Blame, Failure, RandomError};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's, a limit's, a policy's or a registry's fault; the problem is safe to show.
    #[error(transparent)]
    Refused(Box<Problem>),
    #[error(transparent)]
    Store(#[from] cofferdam_store::Error),
    #[error(transparent)]
    Workers(#[from] cofferdam_workers::Error),
    #[error(transparent)]
    Gateway(#[from] cofferdam_gateway::Error),
    #[error(transparent)]
    Random(#[from] RandomError),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    /// The file was changed since it was written. It is removed: the component can be deployed again.
    #[error("{path}: the content does not have the digest in the file's name; the file is removed")]
    Damaged { path: PathBuf },
    #[error("{0:?} is not a digest")]
    Digest(String),
    /// The thread that read or wrote a file ended early.
    #[error("work on a file broke off")]
    Task(#[from] tokio::task::JoinError),
    /// A document of ours could not be serialized.
    #[error("a document could not be encoded")]
    Encode(#[from] serde_json::Error),
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
            Self::Store(error) => error.blame(),
            Self::Workers(error) => error.blame(),
            Self::Gateway(error) => error.blame(),
            _ => Blame::Internal,
        }
    }
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
