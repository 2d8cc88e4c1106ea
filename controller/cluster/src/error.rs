//! Errors of clusters, by what the caller can do about them.

use crate::Words;

/// A cluster could not do what it was asked. The text says what happened and what to do. It holds no credentials of ours;
/// what the cluster says may hold a workload's secrets, so [`Self::words`] shows it only to whoever takes them out.
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
    Unreachable(Words),
    /// The cluster refused: credentials (401), permissions (403), a quota, an invalid object (422).
    #[error("{0}")]
    Refused(Words),
    /// An object changed or is still being deleted. Worth a retry.
    #[error("{0}")]
    Conflict(Words),
}

impl ClusterError {
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Conflict(_))
    }

    /// The text, with what the cluster says kept apart.
    pub fn words(&self) -> Words {
        match self {
            Self::None(text) | Self::Settings(text) => Words::ours(text.as_str()),
            Self::Unreachable(words) | Self::Refused(words) | Self::Conflict(words) => words.clone(),
        }
    }

    /// Takes what the cluster says for words of ours. For answers to requests without any secret but our credentials, which
    /// are taken out already.
    pub(crate) fn vouched_for(self) -> Self {
        let vouched = |words: Words| Words::ours(words.shown(str::to_owned));
        match self {
            Self::Unreachable(words) => Self::Unreachable(vouched(words)),
            Self::Refused(words) => Self::Refused(vouched(words)),
            Self::Conflict(words) => Self::Conflict(vouched(words)),
            Self::None(_) | Self::Settings(_) => self,
        }
    }

    pub(crate) fn unreachable(words: impl Into<Words>) -> Self {
        Self::Unreachable(words.into())
    }

    pub(crate) fn refused(words: impl Into<Words>) -> Self {
        Self::Refused(words.into())
    }

    pub(crate) fn conflict(words: impl Into<Words>) -> Self {
        Self::Conflict(words.into())
    }
}
