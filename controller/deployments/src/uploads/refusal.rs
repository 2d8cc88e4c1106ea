//! Refusals of senders, with the progress of the upload if the sender may go on.

use cofferdam_contract::{FailureReason, Problem};
use cofferdam_uploads::{Full, Progress, PushFailure, Refused, UploadLimits};

use crate::Error;

/// The reason why a sender is not served.
pub struct Refusal {
    pub error: Error,
    /// The upload's progress, if the sender may go on.
    pub progress: Option<Progress>,
    /// Seconds to wait before the next attempt.
    pub retry_after: Option<u32>,
    /// Some of the body was read.
    pub reading: bool,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, progress: None, retry_after: None, reading: false }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Error::from(problem).into()
    }
}

impl Refusal {
    pub(super) fn at(problem: Problem, progress: Progress) -> Self {
        Self { progress: Some(progress), ..problem.into() }
    }

    fn later(problem: Problem, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..problem.into() }
    }
}

pub(super) fn too_large(most: u64) -> Problem {
    let detail = format!("An image may have at most {most} bytes as sent (the operator's COFFERDAM_MAX_IMAGE_BYTES).");
    Problem::too_large(detail)
}

/// A sender did not get hold of the upload.
pub(super) fn not_held(why: Refused, limits: &UploadLimits) -> Refusal {
    match why {
        Refused::Busy => {
            let mut problem =
                Problem::conflict("Another client is sending this upload; wait until it finishes or disconnects.");
            problem.retryable = true;
            Refusal::later(problem, 3)
        }
        Refused::Mismatch(progress) => {
            let detail = format!(
                "The upload is at byte {}: continue there with Upload-Offset: {}, or start again with PUT.",
                progress.offset, progress.offset
            );
            Refusal::at(Problem::conflict(detail), progress)
        }
        Refused::Full(full) => {
            let who = match full {
                Full::Organization => format!("{} uploads of this organization", limits.per_organization),
                Full::All => format!("{} uploads", limits.at_once),
            };
            let detail = format!("{who} are under way: upload limit reached; wait for one to end.");
            Refusal::later(Problem::overloaded(detail), 10)
        }
    }
}

/// A failed push, for its sender.
pub(super) fn problem(failure: &PushFailure) -> Problem {
    let detail = failure.detail.clone();
    let mut problem = match failure.reason {
        FailureReason::BadImage => Problem::bad_image(detail),
        FailureReason::Registry => Problem::bad_upstream(detail),
        FailureReason::UploadLost => Problem::slow_request(detail),
        FailureReason::Internal => Problem::internal(detail),
        FailureReason::Superseded
        | FailureReason::Cluster
        | FailureReason::NoCluster
        | FailureReason::ImagePull
        | FailureReason::Unschedulable
        | FailureReason::CannotStart
        | FailureReason::OutOfMemory
        | FailureReason::Exited
        | FailureReason::NotReady => Problem::conflict(detail),
    };
    problem.retryable = failure.retryable;
    problem
}
