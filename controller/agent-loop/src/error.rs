//! Errors of this crate: refusals that say what to do, and failures of what is below.

use std::sync::Arc;

use cofferdam_contract::Problem;
use cofferdam_core::{Blame, Failure};

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The caller's fault, or a limit's; the problem is safe to show.
    #[error(transparent)]
    Refused(Box<Problem>),
    #[error(transparent)]
    Tasks(#[from] cofferdam_tasks::Error),
    #[error(transparent)]
    Agents(Arc<cofferdam_agents::Error>),
    #[error(transparent)]
    Store(Arc<cofferdam_store::Error>),
    #[error(transparent)]
    Random(Arc<cofferdam_core::RandomError>),
    #[error(transparent)]
    Models(Arc<cofferdam_models::settings::Error>),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

impl From<cofferdam_agents::Error> for Error {
    fn from(error: cofferdam_agents::Error) -> Self {
        Self::Agents(Arc::new(error))
    }
}

impl From<cofferdam_store::Error> for Error {
    fn from(error: cofferdam_store::Error) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<cofferdam_core::RandomError> for Error {
    fn from(error: cofferdam_core::RandomError) -> Self {
        Self::Random(Arc::new(error))
    }
}

impl From<cofferdam_models::settings::Error> for Error {
    fn from(error: cofferdam_models::settings::Error) -> Self {
        Self::Models(Arc::new(error))
    }
}

impl Failure for Error {
    fn blame(&self) -> Blame<'_> {
        match self {
            Self::Refused(problem) => Blame::Refused(problem),
            Self::Tasks(error) => error.blame(),
            Self::Agents(error) => error.blame(),
            Self::Store(error) => error.blame(),
            Self::Random(_) => Blame::Internal,
            Self::Models(error) => error.blame(),
        }
    }
}
