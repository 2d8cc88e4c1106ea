//! Turns the plain-text refusals of axum's own extractors into problem documents.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cofferdam_contract::Problem;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt, Limited};

use crate::ApiError;

/// Middleware that turns plain-text refusals into problem documents.
pub async fn plain_refusals(request: Request, next: Next) -> Response {
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
    ApiError::from(problem).into_response()
}
