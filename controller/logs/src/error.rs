//! Errors of this crate.

use cofferdam_contract::Problem;
use cofferdam_core::{Blame, Failure};

use crate::shelf::SegmentError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's fault or a limit's; the problem is safe to show.
    #[error(transparent)]
    Refused(Box<Problem>),
    #[error(transparent)]
    Store(#[from] cofferdam_store::Error),
    /// The object store failed.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// Ours: lines that we wrote could not be compressed.
    #[error("cannot compress lines: {0}")]
    Compress(std::io::Error),
    /// Ours: a task panicked.
    #[error("a task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
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
            Self::Store(_) | Self::Segment(_) | Self::Compress(_) | Self::Task(_) => Blame::Internal,
        }
    }
}
