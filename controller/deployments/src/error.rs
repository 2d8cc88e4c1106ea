//! Failures of deployments. A refusal keeps its problem, whichever crate below refused; everything else is ours.

use cofferdam_contract::Problem;
use cofferdam_core::{Blame, Failure, RandomError, VaultError, chain};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's, a limit's or a policy's fault; the problem is safe to show.
    #[error(transparent)]
    Refused(Box<Problem>),
    #[error(transparent)]
    Store(#[from] cofferdam_store::Error),
    #[error(transparent)]
    Environments(cofferdam_environments::Error),
    #[error(transparent)]
    Identity(cofferdam_identity::Error),
    #[error(transparent)]
    Uploads(cofferdam_uploads::Error),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Random(#[from] RandomError),
    /// JSON that we write ourselves could not be written.
    #[error("{what} cannot be encoded")]
    Encode { what: &'static str, source: serde_json::Error },
    /// A sealed value opened but does not parse.
    #[error("{0}")]
    Corrupt(&'static str),
    /// An agent id of our own making, or one from the store, is not valid.
    #[error("{0:?} is not a valid agent id")]
    AgentId(String),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

impl From<cofferdam_environments::Error> for Error {
    fn from(error: cofferdam_environments::Error) -> Self {
        match error {
            cofferdam_environments::Error::Refused(problem) => Self::Refused(problem),
            error => Self::Environments(error),
        }
    }
}

impl From<cofferdam_identity::Error> for Error {
    fn from(error: cofferdam_identity::Error) -> Self {
        match error {
            cofferdam_identity::Error::Refused(problem) => Self::Refused(problem),
            error => Self::Identity(error),
        }
    }
}

impl From<cofferdam_uploads::Error> for Error {
    fn from(error: cofferdam_uploads::Error) -> Self {
        match error {
            cofferdam_uploads::Error::Refused(problem) => Self::Refused(problem),
            error => Self::Uploads(error),
        }
    }
}

impl Failure for Error {
    fn blame(&self) -> Blame<'_> {
        match self {
            Self::Refused(problem) => Blame::Refused(problem),
            Self::Store(_)
            | Self::Environments(_)
            | Self::Identity(_)
            | Self::Uploads(_)
            | Self::Vault(_)
            | Self::Random(_)
            | Self::Encode { .. }
            | Self::Corrupt(_)
            | Self::AgentId(_) => Blame::Internal,
        }
    }
}

impl Error {
    /// The failure as a text, if a sealed value does not open or holds nonsense. It names no secret.
    pub(crate) fn sealed(&self) -> Option<String> {
        use cofferdam_environments::Error as Environments;
        use cofferdam_identity::Error as Identity;
        match self {
            Self::Corrupt(_)
            | Self::Vault(VaultError::Sealed(_))
            | Self::Environments(
                Environments::Vault(VaultError::Sealed(_))
                | Environments::Secrets { .. }
                | Environments::NotText { .. },
            )
            | Self::Identity(Identity::Vault(VaultError::Sealed(_)) | Identity::NotText(_)) => Some(self.to_string()),
            _ => None,
        }
    }

    /// Trying again does not help: the request is refused, or a sealed value does not open.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Refused(_)) || self.sealed().is_some()
    }
}

/// Logs the failure of a step that is repeated anyway.
pub(crate) fn log<E: Into<Error>>(what: &str, result: Result<(), E>) {
    if let Err(error) = result {
        tracing::warn!(error = %chain(&error.into()), "{what} failed; it is tried again");
    }
}
