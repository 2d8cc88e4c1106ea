//! Requests of one session on the wire: the headers of the protocol, redirects within the server, and what a status means for
//! the call.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_contract::work::McpVersion;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::challenge::Challenge;
use crate::clean::Scrub;
use crate::http::{Answer, Ask, Bounds, Client, SendError};
use crate::place::Place;

/// Redirects of one request, within the server's own scheme, host and port.
const MAX_REDIRECTS: usize = 3;
/// The longest body of a refusal that is read.
const MAX_REFUSAL_BYTES: usize = 16 << 10;
/// The longest wait that a server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

pub(crate) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Nothing was sent, or it was refused for now.
    NotSent(String, Option<Duration>),
    /// The address must not be dialled.
    Forbidden(String),
    /// It may have had an effect.
    Unknown(String),
    /// The server says that it did not do it.
    Answered(String),
    /// The server does not know the session.
    SessionLost(String),
    /// The server wants other credentials.
    Unauthorized(Challenge),
}

impl From<SendError> for Fault {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Forbidden(why) => Self::Forbidden(why),
            SendError::NotSent(why) => Self::NotSent(format!("the server cannot be reached: {why}"), None),
            SendError::Lost(why) => Self::Unknown(why),
        }
    }
}

/// Headers that the server of a session gets with each request.
#[derive(Clone)]
pub(crate) struct Head {
    /// The connector's own headers, credentials among them.
    pub(crate) headers: HeaderMap,
    pub(crate) session: Option<HeaderValue>,
    pub(crate) version: Option<McpVersion>,
    pub(crate) scrub: Scrub,
}

/// One server.
pub(crate) struct Wire {
    pub(crate) http: Arc<Client>,
    pub(crate) place: Place,
}

impl Wire {
    /// Posts a message. An answer that is none of success is a fault.
    pub(crate) async fn post(&self, head: &Head, body: Bytes, bounds: Bounds) -> Result<Answer, Fault> {
        let mut headers = head.headers.clone();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        self.send(Method::POST, head, headers, body, bounds).await
    }

    /// Listens to the server's events, after the last one that was heard.
    pub(crate) async fn listen(&self, head: &Head, after: Option<&str>, bounds: Bounds) -> Result<Answer, Fault> {
        let mut headers = head.headers.clone();
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(after) = after.and_then(|after| HeaderValue::from_str(after).ok()) {
            headers.insert(LAST_EVENT, after);
        }
        self.send(Method::GET, head, headers, Bytes::new(), bounds).await
    }

    /// Ends the session at the server.
    pub(crate) async fn end(&self, head: &Head, bounds: Bounds) {
        let ended = self.send(Method::DELETE, head, head.headers.clone(), Bytes::new(), bounds).await;
        if let Err(fault) = ended {
            tracing::debug!(?fault, "an MCP session was not ended");
        }
    }

    async fn send(
        &self,
        method: Method,
        head: &Head,
        mut headers: HeaderMap,
        body: Bytes,
        bounds: Bounds,
    ) -> Result<Answer, Fault> {
        if let Some(session) = &head.session {
            headers.insert(SESSION, session.clone());
        }
        if let Some(version) = head.version {
            headers.insert(VERSION, HeaderValue::from_static(version.as_str()));
        }
        let mut place = self.place.clone();
        for _ in 0..=MAX_REDIRECTS {
            let ask = Ask { method: method.clone(), place: &place, headers: headers.clone(), body: body.clone() };
            let answer = self.http.send(ask, bounds).await?;
            // Only these two keep the method and the body.
            if !matches!(answer.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                return judge(answer, head).await;
            }
            let next = answer.headers.get(header::LOCATION).and_then(|to| to.to_str().ok());
            let next = next.and_then(|to| place.join(to).ok());
            place = match next.filter(|next| next.same_origin(&self.place)) {
                Some(next) => next,
                None => {
                    return Err(Fault::Answered(
                        "the server redirects to another server, which is not followed".to_owned(),
                    ));
                }
            };
        }
        Err(Fault::Answered("the server redirects again and again".to_owned()))
    }
}

/// Decides what a status means.
async fn judge(answer: Answer, head: &Head) -> Result<Answer, Fault> {
    let status = answer.status;
    if status.is_success() {
        return Ok(answer);
    }
    let (headers, body) = (answer.headers, answer.body);
    let wait = retry_after(&headers);
    let challenge = Challenge::read(&headers);
    let text = body.whole(MAX_REFUSAL_BYTES).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let words = head.scrub.said(&text);
    let words = match words.is_empty() {
        true => format!("the server answers {}", status.as_u16()),
        false => format!("the server answers {}: {words}", status.as_u16()),
    };
    Err(match status.as_u16() {
        // A server's answer to wrong credentials may repeat them.
        401 => Fault::Unauthorized(challenge),
        403 if challenge.error.as_deref() == Some("insufficient_scope") => Fault::Unauthorized(challenge),
        403 => Fault::Answered("the server refuses the connector's credentials (403)".to_owned()),
        404 if head.session.is_some() => Fault::SessionLost(words),
        // Some servers say so in words.
        400 if head.session.is_some() && text.to_ascii_lowercase().contains("session") => Fault::SessionLost(words),
        429 => Fault::NotSent(words, wait),
        300..=499 => Fault::Answered(words),
        _ => Fault::Unknown(words),
    })
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}
