//! Failures of environments and variables.

use cofferdam_contract::Problem;
use cofferdam_core::{Blame, Failure, RandomError, VaultError};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's or a limit's fault; the problem is safe to show.
    #[error(transparent)]
    Refused(Box<Problem>),
    #[error(transparent)]
    Store(#[from] cofferdam_store::Error),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The database holds settings that this version cannot read.
    #[error("the settings of environment {name:?} do not parse")]
    Settings { name: String, source: serde_json::Error },
    /// A sealed value opens and does not parse. Never shows the value.
    #[error("the secrets of environment {name:?} do not parse")]
    Secrets { name: String },
    #[error("an environment's settings could not be serialized")]
    Serialize(#[source] serde_json::Error),
    /// A sealed value opens and is not UTF-8. Never shows the value.
    #[error("the value of variable {name:?} is not text")]
    NotText { name: String },
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
            _ => Blame::Internal,
        }
    }
}
