//! What a registry did wrong, as a problem: whose registry, what happened, what to do. What the client says stays in the
//! log: it is written for who pushes an image at a terminal, and may repeat what a server said.

use cofferdam_contract::Problem;
use cofferdam_registry::Reference;
use cofferdam_registry::client::error::{ClientError, Kind};

use crate::Error;

pub(super) fn problem(error: &ClientError, reference: &Reference) -> Error {
    let registry = reference.registry();
    tracing::info!(registry, repository = reference.repository(), %error, "a registry was asked in vain");
    let upstream = |what: String| Problem::bad_upstream(format!("The registry {registry}: {what}"));
    let status = error.status.unwrap_or_default();
    let what = match error.kind {
        Kind::NotFound => return nothing(reference).into(),
        Kind::Unauthorized => {
            "it does not let us in (401). Are the operator's credentials for it right, and is there such a repository?"
        }
        Kind::Forbidden => "it refuses (403). Are the operator's credentials for it right?",
        Kind::Limited | Kind::Full | Kind::Broken | Kind::Refused => {
            return upstream(format!("it answered {status}.")).into();
        }
        Kind::TooLong => "what it serves is longer than its manifest says, or than it may be.",
        Kind::WrongContent => "it served other bytes than asked for: they have another digest.",
        Kind::Unreachable => "it cannot be reached.",
        Kind::Timeout => "it did not answer in time.",
        Kind::Dropped | Kind::Lost => "the connection broke off.",
        Kind::Tls => "there is no TLS connection to it: is its certificate one that this machine trusts?",
        Kind::Elsewhere => "it sends us to a place that we do not go to.",
        Kind::Protocol | Kind::Settings => return strange(reference),
    };
    upstream(what.to_owned()).into()
}

/// What came is not what registries serve.
pub(super) fn strange(reference: &Reference) -> Error {
    let registry = reference.registry();
    let detail = format!("The registry {registry}: its answer is not what the OCI distribution specification says.");
    Problem::bad_upstream(detail).into()
}

fn nothing(reference: &Reference) -> Problem {
    Problem::invalid(format!("oci: there is no {reference} at the registry."))
}

/// The whole took too long.
pub(super) fn late(reference: &Reference) -> Error {
    let registry = reference.registry();
    Problem::bad_upstream(format!("The registry {registry}: it did not finish in time.")).into()
}
