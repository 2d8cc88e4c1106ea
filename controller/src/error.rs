//! Failures that keep the process from starting or end it.

use std::path::PathBuf;

use cofferdam_core::{Blame, ConfigError, Failure, VaultError};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator's fault: an invalid setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The operator's fault: the object store cannot be used.
    #[error(transparent)]
    Objects(#[from] cofferdam_objects::ObjectsError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Store(#[from] cofferdam_store::Error),
    #[error(transparent)]
    Identity(#[from] cofferdam_identity::Error),
    #[error(transparent)]
    Gateway(#[from] cofferdam_gateway::Error),
    #[error(transparent)]
    Connectors(#[from] cofferdam_connectors::ConnectorError),
    #[error(transparent)]
    Tools(#[from] cofferdam_tools::Error),
    #[error(transparent)]
    Deployments(#[from] cofferdam_deployments::Error),
    /// A local worker could not be started or kept.
    #[error(transparent)]
    Workers(#[from] cofferdam_workers::Error),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Listen { address: String, source: std::io::Error },
    #[error("cannot catch signals: {0}")]
    Signals(#[source] std::io::Error),
    /// A part of this process panicked.
    #[error("a part of the server panicked")]
    Broke(#[from] tokio::task::JoinError),
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

impl Failure for Error {
    fn blame(&self) -> Blame<'_> {
        Blame::Internal
    }
}
