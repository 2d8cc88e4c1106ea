//! Errors of this crate.

use cofferdam_contract::Problem;
use cofferdam_core::{Blame, Failure};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's fault; the problem is safe to show.
    #[error(transparent)]
    Refused(Box<Problem>),
    #[error(transparent)]
    Store(#[from] cofferdam_store::Error),
    #[error(transparent)]
    Random(#[from] cofferdam_core::RandomError),
    #[error("a definition cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
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
            Self::Random(_) | Self::Json(_) => Blame::Internal,
        }
    }
}
