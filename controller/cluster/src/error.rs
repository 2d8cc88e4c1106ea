//! Errors of clusters, by what the caller can do about them.

/// A cluster could not do what it was asked. The text says what happened and what to do; it holds no credentials.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No cluster is configured.
    #[error("{0}")]
    None(String),
    /// The settings are invalid: a kubeconfig that does not parse, or that asks us to run programs.
    #[error("{0}")]
    Settings(String),
    /// The cluster cannot be reached, or did not answer in time. Worth a retry.
    #[error("{0}")]
    Unreachable(String),
    /// The cluster refused: credentials (401), permissions (403), a quota, an invalid object (422).
    #[error("{0}")]
    Refused(String),
    /// An object changed or is still being deleted. Worth a retry.
    #[error("{0}")]
    Conflict(String),
}

impl ClusterError {
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Conflict(_))
    }
}
