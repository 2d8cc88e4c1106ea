//! The one place where a failure becomes HTTP: a problem document with a safe sentence; the whole chain goes to the log.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cofferdam_contract::Problem;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt, Limited};

use crate::Error;

pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// A failure as what the client is told of it.
pub(crate) fn problem(error: &Error) -> Problem {
    match error {
        Error::Refused(problem) => (**problem).clone(),
        Error::Wire(_) => Problem::internal("The worker's answer could not be read."),
        _ => Problem::internal("Something failed on our side; the log has it under this request's id."),
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let problem = problem(&self);
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
            response.headers_mut().insert(http::header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// Turns the framework's own plain-text refusals (of extractors) into problem documents.
pub(crate) async fn plain_refusals(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !response.status().is_client_error() || !kind.is_some_and(|kind| kind.starts_with(b"text/plain")) {
        return response;
    }
    let status = response.status();
    let body = Limited::new(response.into_body(), 4 << 10).collect().await;
    let detail = body.map(|b| String::from_utf8_lossy(&b.to_bytes()).into_owned()).unwrap_or_default();
    let problem = match status {
        StatusCode::NOT_FOUND => Problem::not_found(detail),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(detail),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::unsupported_media(detail),
        StatusCode::UNPROCESSABLE_ENTITY => Problem::invalid(detail),
        _ => Problem::malformed(detail),
    };
    Error::from(problem).into_response()
}
