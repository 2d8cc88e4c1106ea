//! A try that failed before a byte of an answer went to the caller: whether another one may help, and the words for the caller
//! if none does.

use std::time::Duration;

use bytes::Bytes;
use cofferdam_dialects::{Dialect, Failure, Kind, Refused, Unreadable};
use cofferdam_upstreams::SendError;
use cofferdam_usage::Ending;
use http::StatusCode;

use crate::refusal::Refusal;

/// Characters shown of a reason that is no provider's error document.
const MAX_REASON_CHARS: usize = 500;

#[derive(Debug)]
pub(crate) struct Failed {
    /// Another try of the same upstream may help.
    pub(crate) again: bool,
    /// Another key of the same upstream may help, at once.
    pub(crate) other_key: bool,
    /// Another upstream may help.
    pub(crate) elsewhere: bool,
    /// The time after which this upstream may be asked again.
    pub(crate) wait: Option<Duration>,
    pub(crate) refusal: Box<Refusal>,
}

impl Failed {
    /// A failure of the upstream's, with the words for the caller.
    pub(crate) fn upstream(kind: Kind, message: String, again: bool) -> Self {
        let ending = if kind == Kind::Timeout { Ending::Timeout } else { Ending::Error };
        Self {
            again,
            other_key: false,
            elsewhere: true,
            wait: None,
            refusal: Box::new(Refusal::new(kind, ending, message)),
        }
    }

    /// No answer came.
    pub(crate) fn send(error: &SendError, upstream: &str) -> Self {
        let kind = match error {
            SendError::Timeout(_) => Kind::Timeout,
            SendError::Closed { limited: true, .. } => Kind::RateLimit,
            SendError::Busy | SendError::Closed { .. } => Kind::Overloaded,
            _ => Kind::Api,
        };
        let mut failed = Self::upstream(kind, format!("Upstream `{upstream}`: {error}."), error.retriable());
        failed.elsewhere = error.falls_back();
        failed.wait = error.retry_after();
        failed.refusal.retry_after = failed.wait;
        failed
    }

    /// The upstream answered with a status that is no success. `native`: it speaks the caller's protocol.
    pub(crate) fn status(
        status: StatusCode,
        body: &Bytes,
        wait: Option<Duration>,
        upstream: &str,
        native: bool,
    ) -> Self {
        let failure = Failure::read(status.as_u16(), body);
        let code = status.as_u16();
        let kind = match code {
            // The key that it refuses is not the caller's.
            401 | 403 | 407 => Kind::Api,
            _ => match failure.kind {
                Kind::Authentication | Kind::Permission => Kind::Api,
                other => other,
            },
        };
        // An account that has nothing left has nothing a moment later.
        let again = matches!(code, 408 | 409 | 429 | 500..=599) && kind != Kind::Quota;
        let about_request = matches!(kind, Kind::Invalid | Kind::Context | Kind::NotFound | Kind::TooLarge);
        let words = failure.message.or_else(|| plain_reason(body));
        let message = match (about_request, words) {
            _ if kind == Kind::Quota => format!("The account at the upstream `{upstream}` has nothing left ({code})."),
            (true, Some(words)) => format!("The upstream `{upstream}` refuses the request ({code}): {words}"),
            _ if matches!(code, 401 | 403) => format!("The upstream `{upstream}` refuses its key ({code})."),
            _ => format!("The upstream `{upstream}` answered with the status {code}."),
        };
        let mut failed = Self::upstream(kind, message, again);
        // A request that one upstream finds wrong is wrong; a model that it does not have may be elsewhere.
        failed.elsewhere = !matches!(kind, Kind::Invalid | Kind::Context | Kind::TooLarge);
        failed.other_key = matches!(code, 401 | 403 | 429);
        failed.wait = wait;
        failed.refusal.retry_after = wait.filter(|_| matches!(kind, Kind::RateLimit | Kind::Overloaded));
        if native && about_request && is_document(body) {
            failed.refusal.passed = Some((status, body.clone()));
        }
        failed
    }

    /// The request cannot be said in this upstream's protocol.
    pub(crate) fn untranslatable(refused: Refused) -> Self {
        Self { again: false, other_key: false, elsewhere: true, wait: None, refusal: Box::new(refused.into()) }
    }

    /// A whole answer that cannot be read or translated.
    pub(crate) fn unreadable(error: &Unreadable, upstream: &str) -> Self {
        match error {
            Unreadable::Failed(failure) => Self::reported(failure, upstream, "reports a failure in its answer"),
            other => Self::upstream(Kind::Api, format!("The upstream `{upstream}`: {other}."), false),
        }
    }

    /// An error that came in a stream before anything of an answer.
    pub(crate) fn first_event(failure: &Failure, upstream: &str) -> Self {
        Self::reported(failure, upstream, "reports a failure instead of an answer")
    }

    /// A failure that came with a status of success.
    fn reported(failure: &Failure, upstream: &str, what: &str) -> Self {
        if let (Kind::Context, Some(words)) = (failure.kind, &failure.message) {
            // The caller can shorten its request, if it is told so; the same request is too long again.
            let mut failed =
                Self::upstream(failure.kind, format!("The upstream `{upstream}` refuses the request: {words}"), false);
            failed.elsewhere = false;
            return failed;
        }
        Self::upstream(api(failure.kind), format!("The upstream `{upstream}` {what}."), true)
    }
}

/// The kind for the caller of a failure that is not the caller's.
fn api(kind: Kind) -> Kind {
    match kind {
        Kind::Overloaded | Kind::RateLimit | Kind::Timeout => kind,
        Kind::Quota => Kind::RateLimit,
        _ => Kind::Api,
    }
}

/// The reason in an answer that is no provider's error document: a `detail`, as many Python servers write, or plain text.
fn plain_reason(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Detail<'a> {
        #[serde(borrow)]
        detail: &'a serde_json::value::RawValue,
    }
    let text = std::str::from_utf8(body).ok()?.trim();
    let text = serde_json::from_str::<Detail<'_>>(text).map_or(text, |found| found.detail.get());
    let plain = !text.is_empty() && !text.starts_with(['<', '{', '[']) || text.starts_with("[{\"");
    plain.then(|| text.chars().filter(|c| !c.is_control()).take(MAX_REASON_CHARS).collect())
}

/// True for an error document of a provider, which a caller's library reads.
fn is_document(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Document {
        #[serde(rename = "error")]
        _error: serde::de::IgnoredAny,
    }
    serde_json::from_slice::<Document>(body).is_ok()
}

/// The dialects whose error documents are the same.
pub(crate) fn same_errors(one: Dialect, other: Dialect) -> bool {
    (one == Dialect::Messages) == (other == Dialect::Messages)
}

#[cfg(test)]
mod tests {
    use cofferdam_dialects::{Seen, error_body};

    use super::*;

    /// Agents shorten a conversation when they read the words or the code that they know.
    #[test]
    fn a_full_context_is_told_in_each_protocol() {
        let body = br#"{"error":{"message":"This model's maximum context length is 10 tokens.","code":"context_length_exceeded"}}"#;
        let answered = Failed::status(StatusCode::BAD_REQUEST, &Bytes::from_static(body), None, "up", false);
        let seen = Seen::of(Dialect::Chat, body);
        let reported = Failed::first_event(seen.failure.as_ref().unwrap(), "up");
        for failed in [answered, reported] {
            assert!(!failed.again && !failed.elsewhere, "{failed:?}");
            let refusal = failed.refusal;
            let said = |dialect| String::from_utf8(error_body(dialect, refusal.kind, &refusal.message, None)).unwrap();
            let message = said(Dialect::Messages);
            assert!(message.contains(r#""type":"invalid_request_error","message":"prompt is too long: "#), "{message}");
            assert!(message.contains("maximum context length is 10 tokens"), "{message}");
            for dialect in [Dialect::Chat, Dialect::Responses] {
                assert!(said(dialect).contains(r#""code":"context_length_exceeded""#), "{}", said(dialect));
            }
            assert_eq!(refusal.kind.status(Dialect::Messages), 400);
        }
    }
}
