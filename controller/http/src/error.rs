//! The only place where a failure becomes a response: the client gets a problem document with a safe sentence, the log
//! the whole chain of causes.

use axum::response::{IntoResponse, Response};
use cofferdam_contract::Problem;
use cofferdam_core::{Blame, Failure, chain, used_up};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

/// The content type of problem documents (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A handler's error. Every crate's error converts into it through `?`.
#[derive(Debug)]
pub struct ApiError(Box<dyn Failure>);

impl<E: Failure> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl ApiError {
    /// The problem that the client is shown.
    pub fn problem(&self) -> Problem {
        problem_of(&*self.0)
    }

    /// The failure with all its causes, for the log.
    pub fn chain(&self) -> String {
        chain(&*self.0)
    }
}

/// The problem that a client is shown for a failure.
fn problem_of(error: &dyn Failure) -> Problem {
    match error.blame() {
        Blame::Refused(problem) => problem.clone(),
        Blame::Worker => Problem::internal("The worker's answer could not be read."),
        Blame::Internal => match used_up(error) {
            Some(what) => Problem::storage_full(what),
            None => Problem::internal("Something failed on our side; the log has it under this request's id."),
        },
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        if problem.status >= 500 {
            tracing::error!(error = %self.chain(), "request failed");
        }
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, body).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if matches!(problem.status, 429 | 503) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if problem.status == 401 {
            let challenge = HeaderValue::from_static("Bearer realm=\"cofferdam\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
