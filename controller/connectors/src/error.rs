//! Failures of connectors. Never shows a token, a header's value or a client's secret.

use std::time::Duration;

use cofferdam_contract::Problem;
use cofferdam_core::{Blame, Failure, RandomError, VaultError};

/// Why a connector could not be written, read or logged in at.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// The caller is at fault, or the server that he named; the problem is safe to show.
    #[error(transparent)]
    Refused(Box<Problem>),
    #[error(transparent)]
    Store(#[from] cofferdam_store::Error),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("a stored connector could not be read or written as JSON")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl From<Problem> for ConnectorError {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

impl Failure for ConnectorError {
    fn blame(&self) -> Blame<'_> {
        match self {
            Self::Refused(problem) => Blame::Refused(problem),
            Self::Store(_) | Self::Vault(_) | Self::Json(_) | Self::Random(_) => Blame::Internal,
        }
    }
}

/// Why a call has no result. Each says if the request may have had an effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The server has not got the request, or said that it does not take it now: it may be sent again.
    #[error("{why}")]
    NotSent { why: String, retry_after: Option<Duration> },
    /// Nothing was sent, and nothing will be: there is no such connector or tool, or its address is forbidden.
    #[error("{0}")]
    Refused(String),
    /// The server may have done it.
    #[error("{0}")]
    Unknown(String),
    /// The server has answered that it did not do it.
    #[error("{0}")]
    Answered(String),
    /// Somebody has to log in at this address first. Nothing was done.
    #[error("somebody has to log in first")]
    LoginRequired { url: String },
}

impl CallError {
    pub(crate) fn not_sent(why: impl Into<String>) -> Self {
        Self::NotSent { why: why.into(), retry_after: None }
    }

    /// A failure of our own, before anything was sent. The log gets the chain.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = cofferdam_core::chain(error), "a connector cannot be used");
        Self::not_sent("The connector cannot be used now: a failure of this server.")
    }
}

impl From<ConnectorError> for CallError {
    fn from(error: ConnectorError) -> Self {
        match &error {
            ConnectorError::Refused(problem) => Self::Refused(problem.detail.clone()),
            other => Self::internal(other),
        }
    }
}
