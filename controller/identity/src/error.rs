//! Failures of keys and secrets.

use std::path::{Path, PathBuf};

use cofferdam_contract::Problem;
use cofferdam_core::{Blame, Failure, RandomError, VaultError};

/// Why a call about keys or secrets failed. Never shows a key or a value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller is at fault; the problem is safe to show.
    #[error(transparent)]
    Refused(Box<Problem>),
    #[error(transparent)]
    Store(#[from] cofferdam_store::Error),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("the sealed value of the secret {0:?} is not UTF-8")]
    NotText(String),
    #[error("the list of a secret's hosts could not be read or written as JSON")]
    Hosts(#[from] serde_json::Error),
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The key file cannot be read or written.
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
}

impl Error {
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
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
            Self::Store(_)
            | Self::Vault(_)
            | Self::NotText(_)
            | Self::Hosts(_)
            | Self::Random(_)
            | Self::File { .. } => Blame::Internal,
        }
    }
}
