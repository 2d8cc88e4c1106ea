//! An answer's head, judged, and its body with all that belongs around it: bounds, decoding, scrubbing. What the head says of
//! keys and breaker is told to them here.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cofferdam_dialects::{Kind as Fault, error_body};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Limited};
use tokio::time::Instant;

use crate::ask::{Ask, Content, Sent};
use crate::bedrock;
use crate::body::{Bounds, UpstreamBody};
use crate::breaker::Entry;
use crate::error::{Protocol, SendError};
use crate::headers;
use crate::keys::{Key, Use};
use crate::kind::{Kind, Service};
use crate::pool::Leased;
use crate::retry_after::retry_after;
use crate::upstream::{Answered, Upstream};

/// The longest whole answer.
pub const MAX_ANSWER_BYTES: u64 = 64 << 20;
/// The longest body of an error.
pub const MAX_ERROR_BYTES: u64 = 1 << 20;
/// The time for the body of an error.
const ERROR_TIMEOUT: Duration = Duration::from_secs(30);

impl Upstream {
    /// The answer as it is given on.
    pub(crate) async fn answer(
        &self,
        ask: &Ask,
        key: Option<&Key>,
        answered: Answered,
        (entry, of_model): (Entry, Option<Entry>),
        mut bounds: Bounds,
    ) -> Result<Sent, SendError> {
        let (head, body) = answered.response.into_parts();
        let mut body = Leased::new(body, answered.sender, Arc::clone(&self.pool));
        if let Err(why) = judge(head.status, &head.headers) {
            body.close();
            self.failed(entry, &why);
            return Err(why);
        }
        // Whatever it says, it speaks.
        entry.good();
        let status = head.status;
        let retry_after = retry_after(&head.headers, SystemTime::now());
        if let Some(key) = key
            && self.keys.answered(key, status.as_u16(), retry_after)
        {
            let (upstream, number, status) = (self.name(), key.number, status.as_u16());
            tracing::warn!(upstream, key = number, status, "an upstream of models refuses a key");
            // A 403 is about what is asked for: callers could make it exchanged again and again.
            if let (Use::Google(google), 401) = (&key.by, status) {
                google.forget();
            }
        }
        let scrub = self.scrub();
        let mut headers = headers::to_caller(&head.headers, scrub.as_deref());
        let entry = match (status.is_server_error(), of_model) {
            (true, Some(entry)) => {
                if entry.failed() {
                    tracing::warn!(
                        upstream = self.name(),
                        model = ask.model,
                        status = status.as_u16(),
                        "a model fails again and again; it is not asked for a while"
                    );
                }
                None
            }
            (false, Some(mut entry)) => {
                entry.answered();
                Some(entry)
            }
            (_, None) => None,
        };
        let amazons = is_type(&head.headers, "application/vnd.amazon.eventstream") && self.spec.kind == Kind::Bedrock;
        let events = status.is_success() && (amazons || is_type(&head.headers, "text/event-stream"));
        if events {
            bounds.max_bytes = u64::MAX;
        } else if !status.is_success() {
            bounds.max_bytes = MAX_ERROR_BYTES;
            bounds.deadline = bounds.deadline.min(Instant::now() + ERROR_TIMEOUT);
        }
        let replacer = scrub.as_ref().map(|scrub| scrub.replacer());
        let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let mut kind = form(&head.headers);
        let body = if refused {
            // These answers tell about the owner of the key, and some repeat a part of it.
            body.close();
            kind = Content::Json;
            UpstreamBody::whole(refusal(ask.service, status))
        } else if self.spec.kind == Kind::Bedrock && !status.is_success() {
            let name = head.headers.get("x-amzn-errortype").and_then(|name| name.to_str().ok());
            let live = UpstreamBody::live(body, bounds, entry).scrubbed(replacer);
            let read = Limited::new(live, usize::try_from(MAX_ERROR_BYTES).unwrap_or(usize::MAX)).collect().await;
            let bytes = read.map(|read| read.to_bytes()).unwrap_or_default();
            kind = Content::Json;
            UpstreamBody::whole(bedrock::error(status.as_u16(), name, &bytes))
        } else {
            let live = UpstreamBody::live(body, bounds, entry).scrubbed(replacer);
            if events && amazons { live.decoded() } else { live }
        };
        if events {
            kind = Content::Events;
        }
        if events && amazons {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        } else if kind == Content::Json && (refused || self.spec.kind == Kind::Bedrock) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(Sent { status, headers, body, events, kind, retry_after })
    }
}

fn refusal(service: Service, status: StatusCode) -> Bytes {
    let (fault, message) = match status {
        StatusCode::UNAUTHORIZED => (Fault::Authentication, "The upstream of this model refuses its key."),
        _ => (Fault::Permission, "The upstream refuses this with its key: perhaps it may not use the model."),
    };
    Bytes::from(error_body(service.error_dialect(), fault, message, None))
}

/// Refuses what is no answer.
pub(crate) fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), SendError> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(SendError::Protocol(Protocol::Switches));
    }
    if status.is_redirection() {
        return Err(SendError::Redirect(status.as_u16()));
    }
    let identity =
        |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity") || value.is_empty();
    match headers.get_all(CONTENT_ENCODING).iter().all(identity) {
        true => Ok(()),
        false => Err(SendError::Protocol(Protocol::Encoded)),
    }
}

fn media(headers: &HeaderMap) -> &str {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim()
}

fn is_type(headers: &HeaderMap, wanted: &str) -> bool {
    media(headers).eq_ignore_ascii_case(wanted)
}

/// The form of a body, by its content type.
pub(crate) fn form(headers: &HeaderMap) -> Content {
    let media = media(headers).to_ascii_lowercase();
    match media.as_str() {
        "text/event-stream" => Content::Events,
        "application/json" => Content::Json,
        media if media.ends_with("+json") => Content::Json,
        _ => Content::Other,
    }
}
