//! The answer on its way to the caller: a whole body, or a stream that is passed on or translated event by event. The call is
//! settled when it ends, however it ends; dropping it cancels the upstream's work.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cofferdam_dialects::sse::{Broken, Reader};
use cofferdam_dialects::{Cutter, Dialect, Kind, StreamTranslator, Tap, Usage};
use cofferdam_upstreams::{BodyError, UpstreamBody};
use cofferdam_usage::Ending;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use crate::answer::is_late;
use crate::events;
use crate::meter::Meter;
use crate::room::Taken;

/// The time that an upstream has to end a stream after its last event, so that its connection can be used again.
const END_TIMEOUT: Duration = Duration::from_millis(500);

/// Bytes that an upstream may send after the end of its answer.
const MAX_AFTER_BYTES: usize = 64 << 10;

/// An answer, or an error in the caller's protocol.
pub type Reply = http::Response<ReplyBody>;

/// An answer that breaks off. A stream tells its failures in its own events, so there is none.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub struct BrokenOff;

/// The body of an answer.
pub struct ReplyBody(Inner);

enum Inner {
    Whole(Bytes),
    Stream(Box<Stream>),
}

impl ReplyBody {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self(Inner::Whole(bytes))
    }

    pub(crate) fn stream(stream: Stream) -> Self {
        Self(Inner::Stream(Box::new(stream)))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut self.0 {
            Inner::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Inner::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Inner::Stream(stream) => stream.poll(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Whole(bytes) => bytes.is_empty(),
            Inner::Stream(stream) => stream.body.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Stream(_) => SizeHint::default(),
        }
    }
}

/// The way from an upstream's stream to the caller's.
pub(crate) enum Way {
    Passed { tap: Tap, cutter: Cutter },
    Translated { reader: Reader, translator: Box<StreamTranslator> },
}

impl Way {
    pub(crate) fn passed(dialect: Dialect, strip_usage: bool) -> Self {
        Self::Passed { tap: Tap::new(dialect), cutter: Cutter::new(strip_usage) }
    }

    /// Takes a piece of the upstream's stream, and returns what of it goes to the caller.
    fn push(&mut self, piece: Bytes) -> Result<Bytes, Broken> {
        match self {
            Self::Passed { tap, cutter } => {
                tap.push(&piece);
                cutter.push(piece)
            }
            Self::Translated { reader, translator } => {
                let mut out = Vec::new();
                if let Err(broken) = reader.push(&piece, |event| translator.event(event, &mut out)) {
                    translator.broken(broken, &mut out);
                }
                Ok(Bytes::from(out))
            }
        }
    }

    fn has_begun(&self) -> bool {
        match self {
            Self::Passed { tap, .. } => tap.has_begun(),
            Self::Translated { .. } => true,
        }
    }

    /// Bytes that are held until their event is whole.
    fn held(&self) -> usize {
        match self {
            // The tap reads the same bytes, up to a shorter bound.
            Self::Passed { cutter, .. } => cutter.held().saturating_mul(2),
            Self::Translated { reader, translator } => reader.held().saturating_add(translator.held()),
        }
    }

    /// The answer is whole.
    fn is_complete(&self) -> bool {
        match self {
            Self::Passed { tap, .. } => tap.seen().complete,
            Self::Translated { translator, .. } => translator.is_over(),
        }
    }

    fn failure(&self) -> Option<Kind> {
        match self {
            Self::Passed { tap, .. } => tap.seen().failure.as_ref().map(|failure| failure.kind),
            Self::Translated { translator, .. } => translator.failure().map(|failure| failure.kind),
        }
    }

    fn usage(&self) -> Option<Usage> {
        match self {
            Self::Passed { tap, .. } => tap.seen().usage,
            Self::Translated { translator, .. } => translator.usage(),
        }
    }

    /// A reason to stop has come: usage that came with it is the final one.
    fn has_stopped(&self) -> bool {
        match self {
            Self::Passed { tap, .. } => tap.seen().stop.is_some() || tap.seen().complete,
            Self::Translated { translator, .. } => translator.stop().is_some(),
        }
    }
}

/// A stream under way.
pub(crate) struct Stream {
    /// The upstream's body; taken when the stream is over.
    body: Option<UpstreamBody>,
    first: Option<Bytes>,
    way: Way,
    voice: Dialect,
    meter: Meter,
    /// The room of what is no whole event yet.
    room: Taken,
    /// Bytes that came after the end of the answer.
    after: usize,
    /// Runs once the answer is whole and the upstream's body has not ended.
    ending: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    /// `first`: the piece that was read already.
    pub(crate) fn new(first: Bytes, body: UpstreamBody, way: Way, voice: Dialect, meter: Meter, room: Taken) -> Self {
        Self { body: Some(body), first: Some(first), way, voice, meter, room, after: 0, ending: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            let piece = match self.first.take() {
                Some(first) => Some(Ok(first)),
                None => match Pin::new(body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(piece) => Some(Ok(piece)),
                        Err(_) => continue,
                    },
                    Poll::Ready(Some(Err(error))) => Some(Err(error)),
                    Poll::Ready(None) => None,
                    Poll::Pending if self.way.is_complete() => {
                        let ending = self.ending.get_or_insert_with(|| Box::pin(tokio::time::sleep(END_TIMEOUT)));
                        match ending.as_mut().poll(cx) {
                            Poll::Ready(()) => None,
                            Poll::Pending => return Poll::Pending,
                        }
                    }
                    Poll::Pending => return Poll::Pending,
                },
            };
            let out = match piece {
                Some(Ok(piece)) => self.take(piece),
                Some(Err(error)) => self.broke(&error),
                None => self.end(),
            };
            if !out.is_empty() {
                return Poll::Ready(Some(out));
            }
        }
    }

    fn take(&mut self, piece: Bytes) -> Bytes {
        if self.way.is_complete() {
            // Nobody counts what comes after the end.
            self.after += piece.len();
            if self.after > MAX_AFTER_BYTES {
                self.body = None;
            }
            return Bytes::new();
        }
        self.meter.took(&piece, true);
        let out = match self.way.push(piece) {
            Ok(out) => out,
            Err(broken) => {
                return self.fail(Kind::Api, &format!("The upstream's stream is broken: {broken}."), Ending::Broken);
            }
        };
        if self.way.has_begun() && !out.is_empty() {
            self.meter.first_token();
        }
        if self.way.is_complete() {
            // Recorded now: the caller has all of it, whenever the upstream closes.
            self.settle();
        } else if !self.room.fit(self.way.held()) {
            let message = "Too many long answers are being read at once; try again.";
            return self.fail(Kind::Overloaded, message, Ending::Broken);
        }
        out
    }

    fn broke(&mut self, error: &BodyError) -> Bytes {
        if self.way.is_complete() {
            self.settle();
            self.body = None;
            return Bytes::new();
        }
        let (kind, ending) = match is_late(error) {
            true => (Kind::Timeout, Ending::Timeout),
            false => (Kind::Api, Ending::Broken),
        };
        self.fail(kind, &format!("The stream ends here: {error}."), ending)
    }

    fn end(&mut self) -> Bytes {
        let mut out = Bytes::new();
        match &mut self.way {
            Way::Passed { tap, cutter } => {
                // Some servers leave the last empty line away.
                tap.push(b"\n\n");
                out = cutter.finish().unwrap_or_default();
                if !tap.seen().complete && tap.seen().stop.is_none() && tap.seen().failure.is_none() {
                    let event = self.fail(Kind::Api, "The upstream's stream ended before the answer.", Ending::Broken);
                    // Half an event would make ours unreadable.
                    return event;
                }
            }
            Way::Translated { translator, .. } => {
                let mut last = Vec::new();
                translator.end(&mut last);
                out = if last.is_empty() { out } else { Bytes::from(last) };
            }
        }
        self.settle();
        self.body = None;
        out
    }

    /// Ends the stream with an error event.
    fn fail(&mut self, kind: Kind, message: &str, ending: Ending) -> Bytes {
        tracing::warn!(call = self.meter.id(), why = message, "a stream of a model failed");
        let out = match &mut self.way {
            Way::Passed { .. } => events::failure(self.voice, kind, message),
            Way::Translated { translator, .. } => {
                let mut out = Vec::new();
                translator.fail(kind, message, &mut out);
                out
            }
        };
        self.meter.finish(ending, self.way.usage(), self.way.has_stopped());
        self.body = None;
        Bytes::from(out)
    }

    /// Settles a stream that came to its own end, or to the upstream's error.
    fn settle(&mut self) {
        let ending = match self.way.failure() {
            None => Ending::Ok,
            Some(Kind::Timeout) => Ending::Timeout,
            Some(_) => Ending::Broken,
        };
        if ending != Ending::Ok && !self.meter.id().is_empty() {
            tracing::warn!(call = self.meter.id(), "a stream of a model ended with the upstream's error");
        }
        self.meter.finish(ending, self.way.usage(), ending == Ending::Ok || self.way.has_stopped());
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The caller went away.
        self.meter.finish(Ending::Cancelled, self.way.usage(), self.way.has_stopped());
    }
}
