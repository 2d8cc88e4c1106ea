//! Failures of an MCP request, and how they are reported to the model.

use cofferdam_contract::Problem;
use cofferdam_core::{Blame, Failure, RandomError};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's, a limit's or a policy's fault; the problem is safe to show.
    #[error(transparent)]
    Refused(Box<Problem>),
    #[error(transparent)]
    Sandbox(#[from] cofferdam_sandbox::Error),
    #[error(transparent)]
    Tools(#[from] cofferdam_tools::Error),
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The request to the worker could not be written.
    #[error("a run could not be written as JSON")]
    Json(#[source] serde_json::Error),
    /// The worker's answer breaks the protocol.
    #[error("the worker's answer (status {status}) could not be read")]
    Answer { status: u16, source: serde_json::Error },
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
            Self::Sandbox(error) => error.blame(),
            Self::Tools(error) => error.blame(),
            Self::Answer { .. } => Blame::Worker,
            Self::Random(_) | Self::Json(_) => Blame::Internal,
        }
    }
}
