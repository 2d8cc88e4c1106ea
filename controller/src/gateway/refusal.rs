//! A request that the gateway carries out no further: why, in a word for the guest's error code and in a sentence for
//! people. It never holds a secret's value: texts are made before placeholders are replaced.

use bytes::Bytes;
use cofferdam_contract::Problem;
use cofferdam_contract::uplink::{REFUSED_HEADER, RefusedBy};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};

use super::body::GatewayBody;
use crate::Error;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub by: RefusedBy,
    pub problem: Problem,
}

impl Refusal {
    pub fn policy(detail: impl Into<String>) -> Self {
        Self { by: RefusedBy::Policy, problem: Problem::denied(detail) }
    }

    pub fn private_address(detail: impl Into<String>) -> Self {
        Self { by: RefusedBy::PrivateAddress, problem: Problem::denied(detail) }
    }

    /// The guest's request is not HTTP as it should be.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self { by: RefusedBy::Malformed, problem: Problem::invalid(detail) }
    }

    /// The upstream's answer is not.
    pub fn bad_answer(detail: impl Into<String>) -> Self {
        Self { by: RefusedBy::Malformed, problem: Problem::bad_upstream(detail) }
    }

    pub fn dns(detail: impl Into<String>) -> Self {
        Self { by: RefusedBy::Dns, problem: Problem::bad_upstream(detail) }
    }

    pub fn connect(detail: impl Into<String>) -> Self {
        Self { by: RefusedBy::Connect, problem: Problem::bad_upstream(detail) }
    }

    pub fn timeout(detail: impl Into<String>) -> Self {
        Self { by: RefusedBy::Timeout, problem: Problem::bad_upstream(detail) }
    }

    pub fn too_large(detail: impl Into<String>) -> Self {
        Self { by: RefusedBy::TooLarge, problem: Problem::too_large(detail) }
    }

    pub fn conflict(detail: impl Into<String>) -> Self {
        Self { by: RefusedBy::Conflict, problem: Problem::conflict(detail) }
    }

    pub fn token() -> Self {
        let detail = "This token is not known, or its time is over: the run that it was made for has ended.";
        Self { by: RefusedBy::Token, problem: Problem::unauthorized(detail) }
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self { by: RefusedBy::Malformed, problem: Problem::not_found(detail) }
    }

    /// A failure of ours; its cause goes to the log.
    pub fn internal(error: &Error) -> Self {
        tracing::error!(error = %error.chain(), "the gateway failed");
        Self { by: RefusedBy::Internal, problem: Problem::internal("The gateway failed; the log says why.") }
    }

    pub fn into_response(self) -> Response<GatewayBody> {
        let body = Bytes::from(serde_json::to_vec(&self.problem).unwrap_or_default());
        let mut response = Response::new(Full::new(body).map_err(|e| match e {}).boxed_unsync());
        *response.status_mut() = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(REFUSED_HEADER, HeaderValue::from_static(self.by.as_str()));
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(problem) => {
                let by = match problem.fault {
                    cofferdam_contract::Fault::Policy => RefusedBy::Policy,
                    cofferdam_contract::Fault::Caller if problem.status == 413 => RefusedBy::TooLarge,
                    cofferdam_contract::Fault::Caller => RefusedBy::Malformed,
                    cofferdam_contract::Fault::Limit
                    | cofferdam_contract::Fault::Host
                    | cofferdam_contract::Fault::Code => RefusedBy::Internal,
                };
                Self { by, problem: *problem }
            }
            error => Self::internal(&error),
        }
    }
}
