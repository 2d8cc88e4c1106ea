//! Errors of this crate: a budget's refusal, and what failed.

use cofferdam_contract::Problem;
use cofferdam_core::{Blame, Failure};

use crate::budget::{Unit, Window};

/// A budget refuses a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub budget: String,
    pub unit: Unit,
    pub window: Window,
    /// The limit as text; money in dollars.
    pub limit: String,
    /// Seconds until the window ends; `None` where waiting does not help.
    pub retry_after_s: Option<u64>,
}

/// Why nothing was held for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldError {
    Refused(Refused),
    /// The store does not answer, or too many records wait for it. The sentence is safe to show.
    Unavailable(String),
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's fault; the problem is safe to show.
    #[error(transparent)]
    Refused(Box<Problem>),
    #[error(transparent)]
    Store(#[from] cofferdam_store::Error),
    /// The store did not answer in time.
    #[error("the store did not answer in time")]
    Late,
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
            Self::Late => Blame::Internal,
        }
    }
}
