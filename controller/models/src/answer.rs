//! One try: sends a request to one upstream, and reads as much of the answer as it takes to know that there is one. Never
//! gives a byte to the caller before that.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cofferdam_contract::OrganizationId;
use cofferdam_core::now;
use cofferdam_dialects::sse::Reader;
use cofferdam_dialects::{Answer, Dialect, Kind, Seen, StreamTranslator, Tap};
use cofferdam_upstreams::{Ask, BodyError, SendError, Sent, Stage, UpstreamBody};
use cofferdam_usage::Ending;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Body as _;
use tokio::time::Instant;

use crate::failed::{Failed, same_errors};
use crate::meter::Meter;
use crate::name::Candidate;
use crate::prepare::{Body, Prepared};
use crate::refusal::voice;
use crate::reply::{Reply, ReplyBody, Stream, Way};
use crate::room::{Room, Taken};

/// The most bytes of an upstream's error document.
const MAX_ERROR_BYTES: usize = 1 << 20;
/// The longest a stream is held back for its first word, and the most bytes of it.
const FIRST_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_FIRST_BYTES: usize = 64 << 10;
/// The most bytes of an answer that is read whole.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A try that succeeded. The meter goes along with a stream.
pub(crate) struct Answered {
    pub(crate) reply: Reply,
}

/// The parts of a call that all its tries share.
pub(crate) struct Trying<'a> {
    pub(crate) room: &'a Room,
    pub(crate) organization: &'a OrganizationId,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) deadline: Instant,
    pub(crate) stream: bool,
}

impl Trying<'_> {
    /// Tries one candidate. On success the meter is taken out of `meter`.
    pub(crate) async fn once(
        &self,
        candidate: &Candidate,
        body: &mut Body<'_>,
        meter: &mut Option<Meter>,
    ) -> Result<Answered, Failed> {
        let name = candidate.upstream.name();
        let prepared = body.prepare(candidate)?;
        if let Some(meter) = meter {
            meter.trying(candidate);
        }
        let ask = Ask {
            organization: self.organization.clone(),
            service: prepared.service,
            model: prepared.model.clone(),
            stream: self.stream,
            headers: self.headers.clone(),
            body: prepared.body.clone(),
            deadline: self.deadline,
        };
        let sent = candidate.upstream.send(ask).await.map_err(|error| {
            // It had the request, and worked on it as far as anybody knows.
            if let (SendError::Timeout(stage), Some(meter)) = (&error, meter.as_mut())
                && *stage != Stage::Connect
            {
                meter.lost();
            }
            Failed::send(&error, name)
        })?;
        if !sent.status.is_success() {
            return Err(self.refused(sent, name, body.service, &prepared).await);
        }
        if self.stream {
            self.streaming(sent, name, body, prepared, meter).await
        } else {
            self.whole(sent, name, body, prepared, meter).await
        }
    }

    async fn refused(
        &self,
        mut sent: Sent,
        name: &str,
        asked: cofferdam_upstreams::Service,
        prepared: &Prepared,
    ) -> Failed {
        // A document that breaks off still has its status.
        let read = read(&mut sent.body, MAX_ERROR_BYTES, self.room.taken(self.organization)).await.unwrap_or_default();
        let native = same_errors(voice(asked), voice(prepared.service));
        Failed::status(sent.status, &read, sent.retry_after, name, native)
    }

    async fn streaming(
        &self,
        mut sent: Sent,
        name: &str,
        body: &Body<'_>,
        prepared: Prepared,
        meter: &mut Option<Meter>,
    ) -> Result<Answered, Failed> {
        if !sent.events {
            let message = format!("The upstream `{name}` was asked for a stream and did not answer with one.");
            return Err(Failed::upstream(Kind::Api, message, false));
        }
        let voice = voice(body.service);
        let spoken = prepared.translated.as_ref().map_or(voice, |translated| translated.0);
        let first = self.first(&mut sent, spoken, name, meter).await?;
        let way = match prepared.translated {
            None => Way::passed(voice, voice == Dialect::Chat && !body.head.include_usage),
            Some((native, request)) => {
                let created = u64::try_from(now()).unwrap_or_default();
                let translator = Box::new(StreamTranslator::new(native, voice, &request, created));
                Way::Translated { reader: Reader::default(), translator }
            }
        };
        let Some(meter) = meter.take() else { return Err(gone()) };
        let stream = Stream::new(first, sent.body, way, voice, meter, self.room.taken(self.organization));
        let mut reply = Reply::new(ReplyBody::stream(stream));
        *reply.status_mut() = StatusCode::OK;
        *reply.headers_mut() = sent.headers;
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        reply.headers_mut().insert("cache-control", HeaderValue::from_static("no-cache"));
        Ok(Answered { reply })
    }

    /// Reads a stream up to its first word, call or thought, or for a short time: an error instead of an answer can be tried
    /// again as long as nothing has gone to the caller.
    async fn first(
        &self,
        sent: &mut Sent,
        spoken: Dialect,
        name: &str,
        meter: &mut Option<Meter>,
    ) -> Result<Bytes, Failed> {
        let mut first = BytesMut::new();
        let mut tap = Tap::new(spoken);
        let mut until: Option<Instant> = None;
        loop {
            let piece = match until {
                None => next(&mut sent.body).await,
                // The caller has to see that something is under way.
                Some(until) => match tokio::time::timeout_at(until, next(&mut sent.body)).await {
                    Ok(piece) => piece,
                    Err(_) => break,
                },
            };
            let piece = piece.map_err(|error| {
                if let Some(meter) = meter {
                    meter.lost();
                }
                broke(&error, name)
            })?;
            let Some(piece) = piece else {
                if tap.seen().stop.is_some() {
                    break;
                }
                let message = format!("The upstream `{name}` sent a stream without an answer.");
                return Err(Failed::upstream(Kind::Api, message, true));
            };
            tap.push(&piece);
            first.extend_from_slice(&piece);
            if let Some(failure) = tap.seen().failure.as_ref().filter(|_| !tap.has_begun()) {
                return Err(Failed::first_event(failure, name));
            }
            if tap.has_begun() || tap.seen().stop.is_some() || first.len() > MAX_FIRST_BYTES {
                break;
            }
            until = until.or_else(|| Some(Instant::now() + FIRST_TIMEOUT));
        }
        Ok(first.freeze())
    }

    async fn whole(
        &self,
        mut sent: Sent,
        name: &str,
        body: &Body<'_>,
        prepared: Prepared,
        meter: &mut Option<Meter>,
    ) -> Result<Answered, Failed> {
        let bytes =
            read(&mut sent.body, MAX_ANSWER_BYTES, self.room.taken(self.organization)).await.map_err(|error| {
                match error {
                    Unread::Body(error) => {
                        if let Some(meter) = meter {
                            meter.lost();
                        }
                        broke(&error, name)
                    }
                    Unread::TooLong => {
                        let message =
                            format!("The answer of the upstream `{name}` is longer than {MAX_ANSWER_BYTES} bytes.");
                        Failed::upstream(Kind::Api, message, false)
                    }
                    Unread::NoRoom => {
                        let message = "Too many long answers are being read at once; try again.".to_owned();
                        Failed::upstream(Kind::Overloaded, message, false)
                    }
                }
            })?;
        let voice = voice(body.service);
        let spoken = prepared.translated.as_ref().map_or(voice, |translated| translated.0);
        let seen = Seen::of(spoken, &bytes);
        if let Some(failure) = &seen.failure {
            return Err(Failed::first_event(failure, name));
        }
        if !seen.complete {
            let message = format!("The upstream `{name}` answered with something that is no answer of a model.");
            return Err(Failed::upstream(Kind::Api, message, false));
        }
        if let Some(meter) = meter {
            meter.took(&bytes, false);
        }
        let out = match &prepared.translated {
            None => bytes,
            Some((native, request)) => {
                let created = u64::try_from(now()).unwrap_or_default();
                let answer = Answer::read(*native, &bytes).and_then(|answer| answer.write(voice, request, created));
                match answer {
                    Ok(answer) => Bytes::from(answer),
                    Err(error) => {
                        if let Some(meter) = meter {
                            meter.waste(seen.usage);
                        }
                        return Err(Failed::unreadable(&error, name));
                    }
                }
            }
        };
        let Some(mut meter) = meter.take() else { return Err(gone()) };
        meter.first_token();
        meter.finish(Ending::Ok, seen.usage, true);
        let mut reply = Reply::new(ReplyBody::whole(out));
        *reply.status_mut() = sent.status;
        *reply.headers_mut() = sent.headers;
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Answered { reply })
    }
}

fn gone() -> Failed {
    Failed::upstream(Kind::Api, "The call had ended before its answer came.".to_owned(), false)
}

fn broke(error: &BodyError, name: &str) -> Failed {
    let late = is_late(error);
    let kind = if late { Kind::Timeout } else { Kind::Api };
    Failed::upstream(kind, format!("Upstream `{name}`: {error}."), !late)
}

/// True for an answer that took too long.
pub(crate) fn is_late(error: &BodyError) -> bool {
    matches!(error, BodyError::Idle(_) | BodyError::Timeout | BodyError::Deadline)
}

enum Unread {
    Body(BodyError),
    TooLong,
    NoRoom,
}

async fn next(body: &mut UpstreamBody) -> Result<Option<Bytes>, BodyError> {
    loop {
        match std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(piece) => return Ok(Some(piece)),
                Err(_) => continue,
            },
            Some(Err(error)) => return Err(error),
            None => return Ok(None),
        }
    }
}

/// Reads a body whole, within the room of all answers.
async fn read(body: &mut UpstreamBody, max: usize, mut taken: Taken) -> Result<Bytes, Unread> {
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    while let Some(piece) = next(body).await.map_err(Unread::Body)? {
        let length = first.as_ref().map_or(0, Bytes::len) + all.len() + piece.len();
        if length > max {
            return Err(Unread::TooLong);
        }
        if !taken.fit(length) {
            return Err(Unread::NoRoom);
        }
        match first.take() {
            // Most answers come in one piece, which is not copied.
            None if all.is_empty() => first = Some(piece),
            before => {
                all.extend_from_slice(before.as_deref().unwrap_or_default());
                all.extend_from_slice(&piece);
            }
        }
    }
    Ok(first.unwrap_or_else(|| all.freeze()))
}
