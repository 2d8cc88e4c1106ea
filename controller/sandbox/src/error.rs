//! Why a run, a session or a snapshot fails.

use cofferdam_contract::Problem;
use cofferdam_contract::ids::IdError;
use cofferdam_core::{Blame, Failure, RandomError};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's, a limit's or a policy's fault; the problem is safe to show.
    #[error(transparent)]
    Refused(Box<Problem>),
    #[error(transparent)]
    Store(#[from] cofferdam_store::Error),
    #[error(transparent)]
    Workers(#[from] cofferdam_workers::Error),
    #[error(transparent)]
    Gateway(#[from] cofferdam_gateway::Error),
    #[error(transparent)]
    Random(#[from] RandomError),
    /// A run id that we generated is invalid.
    #[error("a run id could not be made")]
    Id(#[from] IdError),
    /// The task that carries a change to its end ended early.
    #[error("the work broke off")]
    BrokeOff,
    /// A run request could not be serialized.
    #[error("a run could not be encoded")]
    Encode(#[from] serde_json::Error),
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
            Self::Workers(error) => error.blame(),
            Self::Gateway(error) => error.blame(),
            Self::Store(error) => error.blame(),
            Self::Random(_) | Self::Id(_) | Self::BrokeOff | Self::Encode(_) => Blame::Internal,
        }
    }
}

/// True if the error is a refusal of this kind.
pub(crate) fn is(error: &impl Failure, kind: &str) -> bool {
    error.refused().is_some_and(|problem| problem.kind() == kind)
}
