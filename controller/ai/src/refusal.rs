//! Refusals in the providers' protocols. Never shows a cause of ours: that goes to the log.

use axum::body::Body;
use axum::response::Response;
use cofferdam_contract::Problem;
use cofferdam_dialects::{Dialect, Kind, error_body};
use cofferdam_http::ApiError;
use cofferdam_identity::TooOften;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

/// A refusal of a door.
#[derive(Debug)]
pub(crate) struct Refusal {
    kind: Kind,
    message: String,
    /// In place of the kind's own.
    status: Option<StatusCode>,
    retry_after_s: Option<u64>,
    allow: Option<&'static str>,
}

impl Refusal {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), status: None, retry_after_s: None, allow: None }
    }

    /// No key, a wrong one, or one that ended.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(Kind::Authentication, message)
    }

    /// There is no room at the moment.
    pub(crate) fn busy(message: impl Into<String>) -> Self {
        Self { retry_after_s: Some(2), ..Self::new(Kind::Overloaded, message) }
    }

    /// The key or its organization calls too often.
    pub(crate) fn too_often(too_often: TooOften) -> Self {
        let TooOften { detail, retry_after_s } = too_often;
        Self { retry_after_s: Some(retry_after_s), ..Self::new(Kind::RateLimit, detail) }
    }

    /// There is no such address. OpenAI's own code for 404 would say that a model is missing.
    pub(crate) fn no_address(dialect: Dialect, message: impl Into<String>) -> Self {
        let kind = if dialect == Dialect::Messages { Kind::NotFound } else { Kind::Invalid };
        Self { status: Some(StatusCode::NOT_FOUND), ..Self::new(kind, message) }
    }

    /// The address takes other methods.
    pub(crate) fn method(message: impl Into<String>, allow: &'static str) -> Self {
        let status = Some(StatusCode::METHOD_NOT_ALLOWED);
        Self { status, allow: Some(allow), ..Self::new(Kind::Invalid, message) }
    }

    /// The answer in a protocol.
    pub(crate) fn answer(self, dialect: Dialect) -> Response {
        let status = self.status.or_else(|| StatusCode::from_u16(self.kind.status(dialect)).ok());
        let mut response = Response::new(Body::from(error_body(dialect, self.kind, &self.message, None)));
        *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let (kind, status, retry_after_s) = match problem.status {
            // Every client knows these statuses, and tries again after the first.
            408 => (Kind::Timeout, StatusCode::from_u16(408).ok(), None),
            415 => (Kind::Invalid, StatusCode::from_u16(415).ok(), None),
            429 => (Kind::RateLimit, None, Some(1)),
            503 => (Kind::Overloaded, None, Some(1)),
            status => (Kind::of_status(status), None, None),
        };
        Self { status, retry_after_s, ..Self::new(kind, problem.detail) }
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        let problem = error.problem();
        if problem.status >= 500 {
            tracing::error!(error = %error.chain(), "a call of a model failed");
        }
        problem.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use serde_json::{Value, json};

    #[tokio::test]
    async fn each_protocol_has_its_own_words() {
        let told = async |refusal: Refusal, dialect| {
            let response = refusal.answer(dialect);
            let (status, retry) = (response.status().as_u16(), response.headers().get(RETRY_AFTER).cloned());
            assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
            let body: Value = serde_json::from_slice(&to_bytes(response.into_body(), 4_096).await.unwrap()).unwrap();
            (status, retry.is_some(), body["error"]["type"].clone(), body["error"]["code"].clone())
        };
        let (chat, messages) = (Dialect::Chat, Dialect::Messages);
        let invalid = "invalid_request_error";
        let none = Value::Null;
        let too_often = || Refusal::too_often(TooOften { detail: "x".to_owned(), retry_after_s: 7 });
        for (refusal, dialect, expected) in [
            (Refusal::unauthorized("x"), chat, (401, false, json!(invalid), json!("invalid_api_key"))),
            (Refusal::unauthorized("x"), messages, (401, false, json!("authentication_error"), none.clone())),
            (Refusal::busy("x"), chat, (503, true, json!("server_error"), json!("server_overloaded"))),
            (Refusal::busy("x"), messages, (529, true, json!("overloaded_error"), none.clone())),
            (too_often(), chat, (429, true, json!("rate_limit_exceeded"), json!("rate_limit_exceeded"))),
            (too_often(), messages, (429, true, json!("rate_limit_error"), none.clone())),
            (Refusal::no_address(chat, "x"), chat, (404, false, json!(invalid), none.clone())),
            (Refusal::no_address(messages, "x"), messages, (404, false, json!("not_found_error"), none.clone())),
            (Refusal::method("x", "POST"), messages, (405, false, json!(invalid), none.clone())),
            (Problem::slow_request("x").into(), messages, (408, false, json!("timeout_error"), none.clone())),
            (Problem::unsupported_media("x").into(), chat, (415, false, json!(invalid), none.clone())),
            (Problem::too_large("x").into(), messages, (413, false, json!("request_too_large"), none.clone())),
            (Problem::malformed("x").into(), chat, (400, false, json!(invalid), none.clone())),
            (Problem::forbidden("x").into(), messages, (403, false, json!("permission_error"), none.clone())),
            (Problem::internal("x").into(), chat, (500, false, json!("server_error"), json!("server_error"))),
        ] {
            let shown = format!("{refusal:?} {dialect:?}");
            assert_eq!(told(refusal, dialect).await, expected, "{shown}");
        }
    }
}
