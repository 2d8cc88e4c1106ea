//! Questions about a deployment's state. Every match names all states, so that a new one does not compile until each
//! question has an answer for it.

use cofferdam_contract::DeploymentState as State;
use cofferdam_contract::FailureReason as Reason;
use cofferdam_store::DeploymentRow;

/// The deployment's image may still arrive.
pub(crate) fn expects_image(state: State) -> bool {
    match state {
        State::Uploading | State::Pushing => true,
        State::Applying
        | State::Starting
        | State::Up
        | State::CrashLoop
        | State::Failed
        | State::Stopping
        | State::Stopped => false,
    }
}

/// The deployment has no image yet and one may still arrive.
pub(crate) fn awaits_image(row: &DeploymentRow) -> bool {
    row.image.is_empty() && expects_image(row.state)
}

/// The deployment was asked to run, and it serves or is on its way up.
pub(crate) fn runs(row: &DeploymentRow) -> bool {
    let goes = match row.state {
        State::Uploading | State::Pushing | State::Applying | State::Starting | State::Up | State::CrashLoop => true,
        State::Failed | State::Stopping | State::Stopped => false,
    };
    goes && row.turn > 0
}

/// The version itself is not to blame for this failure: another attempt may succeed.
pub(crate) fn is_from_outside(reason: Reason) -> bool {
    match reason {
        Reason::NoCluster | Reason::Cluster | Reason::Internal => true,
        Reason::BadImage
        | Reason::UploadLost
        | Reason::Registry
        | Reason::ImagePull
        | Reason::Unschedulable
        | Reason::CannotStart
        | Reason::OutOfMemory
        | Reason::Exited
        | Reason::NotReady
        | Reason::Superseded => false,
    }
}

/// The cluster is to blame for this failure of a version that has served before: no other version would do better, and
/// nothing is gained by creating the Job again.
pub(crate) fn is_clusters_own(reason: Reason) -> bool {
    match reason {
        Reason::Cluster | Reason::Unschedulable | Reason::ImagePull => true,
        Reason::NoCluster
        | Reason::Internal
        | Reason::BadImage
        | Reason::UploadLost
        | Reason::Registry
        | Reason::CannotStart
        | Reason::OutOfMemory
        | Reason::Exited
        | Reason::NotReady
        | Reason::Superseded => false,
    }
}
