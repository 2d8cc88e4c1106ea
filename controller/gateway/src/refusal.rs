//! A request that the gateway does not carry out: a word for the guest's error code and a sentence for people. A
//! refusal never holds a secret's value: its text is written before placeholders are replaced.

use bytes::Bytes;
use cofferdam_contract::uplink::{REFUSED_HEADER, RefusedBy};
use cofferdam_contract::{Fault, Problem};
use cofferdam_core::{Failure, chain};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};

use crate::body::GatewayBody;

/// Characters shown of an error whose text a guest or an upstream may have a part in.
const MAX_SHOWN_CHARS: usize = 300;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) by: RefusedBy,
    pub(crate) problem: Problem,
}

impl Refusal {
    pub(crate) fn policy(detail: impl Into<String>) -> Self {
        Self { by: RefusedBy::Policy, problem: Problem::denied(detail) }
    }

    pub(crate) fn private_address(detail: impl Into<String>) -> Self {
        Self { by: RefusedBy::PrivateAddress, problem: Problem::denied(detail) }
    }

    /// The guest's request is invalid.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self { by: RefusedBy::Malformed, problem: Problem::invalid(detail) }
    }

    /// The upstream's answer is invalid.
    pub(crate) fn bad_answer(detail: impl Into<String>) -> Self {
        Self { by: RefusedBy::Malformed, problem: Problem::bad_upstream(detail) }
    }

    pub(crate) fn dns(detail: impl Into<String>) -> Self {
        Self { by: RefusedBy::Dns, problem: Problem::bad_upstream(detail) }
    }

    pub(crate) fn connect(detail: impl Into<String>) -> Self {
        Self { by: RefusedBy::Connect, problem: Problem::bad_upstream(detail) }
    }

    pub(crate) fn timeout(detail: impl Into<String>) -> Self {
        Self { by: RefusedBy::Timeout, problem: Problem::bad_upstream(detail) }
    }

    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        Self { by: RefusedBy::TooLarge, problem: Problem::too_large(detail) }
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self { by: RefusedBy::Conflict, problem: Problem::conflict(detail) }
    }

    pub(crate) fn token() -> Self {
        let detail = "This token is not known or has expired: the run that it was made for has ended.";
        Self { by: RefusedBy::Token, problem: Problem::unauthorized(detail) }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self { by: RefusedBy::Malformed, problem: Problem::not_found(detail) }
    }

    /// No service of the gateway has the request's path.
    pub(crate) fn no_service() -> Self {
        Self::not_found("The gateway has no such service.")
    }

    /// An internal failure. Its cause goes to the log.
    pub(crate) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %chain(error), "the gateway failed");
        Self { by: RefusedBy::Internal, problem: Problem::internal("The gateway failed; the log says why.") }
    }

    /// The failure of a service that the gateway called.
    pub(crate) fn of(failure: &dyn Failure) -> Self {
        let Some(problem) = failure.refused() else { return Self::internal(failure) };
        let by = match problem.fault {
            Fault::Policy => RefusedBy::Policy,
            Fault::Caller if problem.kind() == "too-large" => RefusedBy::TooLarge,
            Fault::Caller => RefusedBy::Malformed,
            Fault::Limit | Fault::Host | Fault::Code => RefusedBy::Internal,
        };
        Self { by, problem: problem.clone() }
    }

    pub(crate) fn into_response(self) -> Response<GatewayBody> {
        let body = Bytes::from(serde_json::to_vec(&self.problem).unwrap_or_default());
        let mut response = Response::new(Full::new(body).map_err(|e| match e {}).boxed_unsync());
        *response.status_mut() = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(REFUSED_HEADER, HeaderValue::from_static(self.by.as_str()));
        response
    }
}

impl<E: Failure> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::of(&error)
    }
}

/// An error's text, shortened: a guest or an upstream decides how long it is.
pub(crate) fn short(error: &impl ToString) -> String {
    error.to_string().chars().take(MAX_SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_a_refusal_follows_the_fault() {
        for (problem, by) in [
            (Problem::denied("x"), RefusedBy::Policy),
            (Problem::forbidden("x"), RefusedBy::Policy),
            (Problem::too_large("x"), RefusedBy::TooLarge),
            (Problem::not_found("x"), RefusedBy::Malformed),
            (Problem::overloaded("x"), RefusedBy::Internal),
            (Problem::worker_lost("x"), RefusedBy::Internal),
        ] {
            assert_eq!(Refusal::from(problem.clone()), Refusal { by, problem });
        }
    }

    #[test]
    fn a_failure_of_ours_is_not_shown() {
        let refusal = Refusal::from(cofferdam_store::Error::Row("a canary".to_owned()));
        assert_eq!(refusal.by, RefusedBy::Internal);
        assert!(!refusal.problem.detail.contains("canary"));
    }
}
