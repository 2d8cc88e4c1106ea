//! Errors of this crate. Callers get them as [`NotCarried`] or as [`cofferdam_uploads::Error`].

use cofferdam_contract::{FailureReason, Problem};
use cofferdam_uploads::NotCarried;

/// The reason why AWS did not do what it was asked for. Safe to show.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The environment's settings, or the rights of its credentials.
    #[error("{0}")]
    Settings(String),
    /// AWS failed, perhaps only for now.
    #[error("{0}")]
    Unreachable(String),
    /// Nothing was uploaded to the link.
    #[error("{0}")]
    NothingThere(String),
}

impl Error {
    pub fn nothing_there() -> Self {
        let detail = "Nothing was uploaded to the link. Send the archive with PUT, then deploy again.";
        Self::NothingThere(detail.to_owned())
    }
}

impl From<Error> for NotCarried {
    fn from(error: Error) -> Self {
        let reason = match error {
            Error::Settings(_) | Error::Unreachable(_) => FailureReason::Registry,
            Error::NothingThere(_) => FailureReason::UploadLost,
        };
        let retryable = matches!(error, Error::Unreachable(_));
        Self { reason, retryable, detail: error.to_string() }
    }
}

impl From<Error> for cofferdam_uploads::Error {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        let problem = match error {
            Error::Settings(_) => Problem::invalid(detail),
            Error::Unreachable(_) | Error::NothingThere(_) => Problem::bad_upstream(detail),
        };
        problem.into()
    }
}
