//! Errors of this crate.

use cofferdam_contract::Problem;
use cofferdam_core::{Blame, Failure, RandomError};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's fault, or an environment's that the caller can fix; the problem is safe to show.
    #[error(transparent)]
    Refused(Box<Problem>),
    #[error(transparent)]
    Random(#[from] RandomError),
    #[error("cannot seal the token of an upload link")]
    Seal,
    /// Ours: only environments with a bucket have presigned links.
    #[error("the environment {0:?} has no bucket")]
    NoBucket(String),
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
            Self::Random(_) | Self::Seal | Self::NoBucket(_) => Blame::Internal,
        }
    }
}
