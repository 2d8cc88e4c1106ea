//! JSON bodies in and out. An error in a body is described with line and column, and never with its content.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cofferdam_contract::Problem;
use cofferdam_contract::object::Object;
use cofferdam_core::{Blame, Failure};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::mismatch::{self, Mismatch};
use crate::{ApiError, body, nul};

/// The largest body of a request that is not a run or an upload.
const MAX_BODY: usize = 1 << 20;
/// Longer texts are parsed on a thread of their own.
const MAX_INLINE_BYTES: usize = 256 << 10;

/// Characters of a parser's message that a client is shown.
const MAX_DETAIL: usize = 500;
/// The escapes of a surrogate pair, which is where the parser stands when half of one is missing.
const ESCAPED_PAIR_BYTES: usize = 12;

/// A parsed JSON body, or a JSON answer.
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send + 'static> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read(&parts.headers, body, MAX_BODY).await?;
        Ok(Self(parse(&bytes)?))
    }
}

/// An optional JSON body. Without a body, and then also without a content type, it is the default.
pub struct OptionalJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Default + Send + 'static> FromRequest<S> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = body::read(&parts.headers, body, MAX_BODY).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        want_json(&parts.headers)?;
        Ok(Self(parse(&bytes)?))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// Reads a body whose content type is JSON.
pub async fn read(headers: &HeaderMap, body: Body, most: usize) -> Result<Bytes, ApiError> {
    want_json(headers)?;
    body::read(headers, body, most).await
}

fn want_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::unsupported_media("The body has to be JSON: Content-Type: application/json.").into())
}

/// The thread that parsed a body panicked or was cancelled.
#[derive(Debug, thiserror::Error)]
#[error("parsing a body failed")]
struct Broken(#[source] tokio::task::JoinError);

impl Failure for Broken {
    fn blame(&self) -> Blame<'_> {
        Blame::Internal
    }
}

/// Parses and checks a body, on a thread of its own if it is long. Texts in the fields `free` may have a NUL character.
pub async fn parse_long<T: DeserializeOwned + Send + 'static>(
    bytes: Bytes,
    free: &'static [&'static str],
    check: fn(&T) -> Result<(), ApiError>,
) -> Result<T, ApiError> {
    let short = bytes.len() < MAX_INLINE_BYTES;
    let work = move || {
        let value = parse_but(&bytes, free)?;
        check(&value)?;
        Ok(value)
    };
    if short {
        return work();
    }
    tokio::task::spawn_blocking(work).await.map_err(Broken)?
}

/// Parses a body. No text in it may have a NUL character.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    parse_but(bytes, &[])
}

fn parse_but<T: DeserializeOwned>(bytes: &[u8], free: &[&str]) -> Result<T, ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        Problem::malformed(format!("The body is not UTF-8: the byte at offset {} is wrong.", e.valid_up_to()))
    })?;
    match serde_json::from_str::<Object<T>>(text) {
        Ok(Object(value)) => {
            nul::refuse(text, free)?;
            Ok(value)
        }
        Err(error) => Err(refusal::<T>(text, &error).into()),
    }
}

fn refusal<T: DeserializeOwned>(text: &str, error: &serde_json::Error) -> Problem {
    let detail: String = error.to_string().chars().take(MAX_DETAIL).collect();
    if has_half_pair(text, error) {
        let text = format!("The body is not JSON: {detail} (half of a surrogate pair is no character)");
        return Problem::malformed(text);
    }
    match error.classify() {
        Category::Data => match mismatch::of::<Object<T>>(text) {
            Mismatch::Value => Problem::invalid(detail),
            Mismatch::Shape => Problem::malformed(detail),
        },
        Category::Io | Category::Syntax | Category::Eof => {
            Problem::malformed(format!("The body is not JSON: {detail}"))
        }
    }
}

/// Returns true if the error is at an escape that is half of a surrogate pair.
fn has_half_pair(text: &str, error: &serde_json::Error) -> bool {
    let line = text.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let before = line.as_bytes().get(..error.column().min(line.len())).unwrap_or_default();
    let from = before.len().saturating_sub(2 * ESCAPED_PAIR_BYTES);
    let before = before.get(from..).unwrap_or_default();
    let Some(start) = before.windows(2).rposition(|bytes| bytes == b"\\u") else { return false };
    // Farther back, it is not what the parser stumbled over.
    let near = before.len() - start <= ESCAPED_PAIR_BYTES;
    let pair = start.checked_sub(6).and_then(|first| unit(before, first)).is_some_and(|unit| unit >> 10 == 0x36);
    match unit(before, start).map(|unit| unit >> 10) {
        Some(0x36) => near,
        Some(0x37) => near && !pair,
        _ => false,
    }
}

/// The UTF-16 unit that is escaped there.
fn unit(bytes: &[u8], start: usize) -> Option<u16> {
    let digits = bytes.get(start..start + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_contract::RunRequest;

    #[test]
    fn errors_in_a_body_are_described() {
        for (body, status, part) in [
            (&b"{"[..], 400, "line 1 column 1"),
            (b"", 400, "not JSON"),
            (b"\xff{}", 400, "offset 0"),
            (b"{\"language\":\"python\"}", 400, "missing field `code`"),
            (b"{\"language\":\"python\",\"code\":1}", 400, "invalid type"),
            (b"{\"language\":\"python\",\"code\":\"1\",\"x\":1}", 400, "unknown field `x`"),
            (b"{\"language\":\"ruby\",\"code\":\"1\"}", 422, "unknown variant `ruby`"),
            (b"{\"code\":\"1\",\"session\":\"../x\"}", 422, "expected an id"),
            (b"{\"code\":\"1\",\"session\":5}", 400, "invalid type"),
            (b"{\"code\":\"is not a valid id\",\"unknown variant\":1}", 400, "unknown field"),
            (b"{\"code\":\"hex escape\"", 400, "EOF"),
            (b"{\"language\":\"python\",\"code\":\"1\",\"limits\":{\"wall_ms\":-1}}", 400, "invalid value"),
            (b"{\"code\":\n\"\\ud83d\\ude00\" 1}", 400, "expected `,`"),
            (b"{\"language\":\"python\",\"code\":\"\\ud800\"}", 400, "surrogate"),
            (b"{\"language\":\"python\",\"code\":\"\\udc00\"}", 400, "surrogate"),
            (b"{\"language\":\"python\",\"code\":\"1\",\"files\":{\"a\":\"\\ud800\"}}", 400, "surrogate"),
            (b"{\"code\":\"1\"} x", 400, "trailing"),
            (b"[\"python\",\"1\"]", 400, "expected an object"),
            (b"{\"language\":\"python\",\"code\":\"1\",\"limits\":[5]}", 400, "expected an object"),
            (b"{\"language\":\"python\",\"code\":\"1\",\"files\":{\"a\":5}}", 400, "files: \"a\": invalid type"),
        ] {
            let problem = parse::<RunRequest>(body).err().unwrap().problem();
            assert_eq!(problem.status, status, "{problem:?}");
            assert!(problem.detail.contains(part), "{problem:?}, expected {part}");
            assert_eq!(problem.detail.contains("surrogate"), part == "surrogate", "{problem:?}");
        }
        let deep = format!("{{\"language\":\"python\",\"code\":\"1\",\"files\":{}", "[".repeat(100_000));
        assert!(parse::<RunRequest>(deep.as_bytes()).is_err());
    }
}
