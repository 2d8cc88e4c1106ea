//! The errors of letting a run in. A request that is not carried out is no error but a `Refusal`, which goes to the worker.

use cofferdam_core::{Blame, Failure, RandomError};

/// A run or call cannot be let in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Failure for Error {
    fn blame(&self) -> Blame<'_> {
        Blame::Internal
    }
}
