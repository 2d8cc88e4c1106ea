//! Failures of the settings.

use cofferdam_contract::Problem;
use cofferdam_core::{Blame, Failure, VaultError};

use super::keys::SecretError;

/// Why settings could not be read or changed. Never shows a key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller is at fault; the problem is safe to show.
    #[error(transparent)]
    Refused(Box<Problem>),
    #[error(transparent)]
    Store(#[from] cofferdam_store::Error),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("a document could not be read or written as JSON")]
    Json(#[from] serde_json::Error),
    /// A secret that an upstream names could not be opened.
    #[error("a secret could not be opened: {0}")]
    Secret(String),
}

impl From<SecretError> for Error {
    fn from(error: SecretError) -> Self {
        match error {
            SecretError::Refused(why) => Problem::invalid(why).into(),
            SecretError::Unavailable(why) => Self::Secret(why),
        }
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
            Self::Store(error) => error.blame(),
            Self::Vault(_) | Self::Json(_) | Self::Secret(_) => Blame::Internal,
        }
    }
}
