//! Errors of this crate: refusals that say what to do, and a database that does not answer.

use std::sync::OnceLock;

use cofferdam_contract::Problem;
use cofferdam_core::{Blame, Failure};

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The caller's fault, or a limit's; the problem is safe to show.
    #[error(transparent)]
    Refused(Box<Problem>),
    /// The database does not answer. What was asked may have happened or not; it is safe to ask again.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    #[error(transparent)]
    Store(std::sync::Arc<cofferdam_store::Error>),
    #[error(transparent)]
    Random(std::sync::Arc<cofferdam_core::RandomError>),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

impl From<cofferdam_store::Error> for Error {
    fn from(error: cofferdam_store::Error) -> Self {
        match error.is_repeatable() || error.is_unavailable() {
            true => Self::Unavailable(cofferdam_core::chain(&error)),
            false => Self::Store(std::sync::Arc::new(error)),
        }
    }
}

impl From<cofferdam_core::RandomError> for Error {
    fn from(error: cofferdam_core::RandomError) -> Self {
        Self::Random(std::sync::Arc::new(error))
    }
}

fn unavailable() -> &'static Problem {
    static PROBLEM: OnceLock<Problem> = OnceLock::new();
    PROBLEM.get_or_init(|| {
        Problem::unavailable(
            "The database does not answer at the moment. Send the request again, with the same Idempotency-Key.",
        )
    })
}

impl Failure for Error {
    fn blame(&self) -> Blame<'_> {
        match self {
            Self::Refused(problem) => Blame::Refused(problem),
            Self::Unavailable(_) => Blame::Refused(unavailable()),
            Self::Store(error) => error.blame(),
            Self::Random(_) => Blame::Internal,
        }
    }
}
