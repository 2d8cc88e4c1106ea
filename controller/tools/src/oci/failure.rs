//! A registry's failure as a problem: the registry, the failure, the remedy. The client's own message goes to the log
//! only: it is written for a user who pushes an image in a terminal, and may repeat the server's words.

use cofferdam_contract::Problem;
use cofferdam_registry::Reference;
use cofferdam_registry::client::error::{ClientError, Kind};

pub(super) fn problem(error: &ClientError, reference: &Reference) -> Problem {
    let registry = reference.registry();
    tracing::info!(registry, repository = reference.repository(), %error, "a request to a registry failed");
    let status = error.status.unwrap_or_default();
    let what = match error.kind {
        Kind::NotFound => return Problem::invalid(format!("oci: there is no {reference} at the registry.")),
        Kind::Unauthorized => {
            "it does not let us in (401). Are the operator's credentials for it right, and is there such a repository?"
        }
        Kind::Forbidden => "it refuses (403). Are the operator's credentials for it right?",
        Kind::Limited | Kind::Full | Kind::Broken | Kind::Refused => {
            return upstream(reference, &format!("it answered {status}."));
        }
        Kind::TooLong => "what it serves is longer than its manifest says, or than it may be.",
        Kind::WrongContent => "it served other bytes than asked for: they have another digest.",
        Kind::Unreachable => "it cannot be reached.",
        Kind::Unresolved => "its name has no address.",
        Kind::Proxy => "the proxy on the way to it does not let us through.",
        Kind::Timeout => "it did not answer in time.",
        Kind::Dropped | Kind::Lost => "the connection broke off.",
        Kind::Tls => {
            "there is no TLS connection to it: is its certificate one that this machine trusts? A registry without TLS is named \
             with `http://` in COFFERDAM_REGISTRIES, one with TLS without it."
        }
        Kind::Elsewhere => "it sends us to a place that we do not go to.",
        Kind::Protocol | Kind::Settings => return unexpected(reference),
    };
    upstream(reference, what)
}

/// The answer violates the OCI distribution specification.
pub(super) fn unexpected(reference: &Reference) -> Problem {
    upstream(reference, "its answer is not what the OCI distribution specification says.")
}

/// The whole pull or push took too long.
pub(super) fn late(reference: &Reference) -> Problem {
    upstream(reference, "it did not finish in time.")
}

pub(super) fn upstream(reference: &Reference, what: &str) -> Problem {
    Problem::bad_upstream(format!("The registry {}: {what}", reference.registry()))
}
