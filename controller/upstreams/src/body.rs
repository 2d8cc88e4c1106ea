//! The body of an answer on its way to the caller: bounded in time and length, Bedrock's frames turned into events, keys taken
//! out, each piece passed on as soon as it comes. Dropping it cancels the upstream's call.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cofferdam_redact::Replacer;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::breaker::Entry;
use crate::error::BodyError;
use crate::eventstream::Decoder;
use crate::pool::Leased;
use crate::slots::Slot;

/// The bounds of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) max_bytes: u64,
    pub(crate) idle: Duration,
    pub(crate) deadline: Instant,
    /// The error when the deadline is over.
    pub(crate) late: BodyError,
}

enum Inner {
    Live(Box<Leased>),
    Whole(Option<Bytes>),
}

/// The body of an answer.
pub struct UpstreamBody {
    inner: Inner,
    decoder: Option<Box<Decoder>>,
    replacer: Option<Replacer>,
    bounds: Bounds,
    seen: u64,
    /// The time of the last piece.
    last: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    entry: Option<Entry>,
    /// The place among the upstream's calls at once.
    place: Option<Slot>,
    /// An error that waits until what was decoded before it has been passed on.
    failed: Option<BodyError>,
    ended: bool,
}

impl UpstreamBody {
    pub(crate) fn live(body: Leased, bounds: Bounds, entry: Option<Entry>) -> Self {
        Self { inner: Inner::Live(Box::new(body)), bounds, entry, ..Self::whole(Bytes::new()) }
    }

    /// A body that is here already.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        let now = Instant::now();
        Self {
            inner: Inner::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())),
            decoder: None,
            replacer: None,
            bounds: Bounds { max_bytes: u64::MAX, idle: Duration::MAX, deadline: now, late: BodyError::Timeout },
            seen: 0,
            last: now,
            timer: None,
            entry: None,
            place: None,
            failed: None,
            ended: false,
        }
    }

    pub(crate) fn decoded(mut self) -> Self {
        self.decoder = Some(Box::default());
        self
    }

    pub(crate) fn scrubbed(mut self, replacer: Option<Replacer>) -> Self {
        self.replacer = replacer;
        self
    }

    /// Keeps the place among the upstream's calls until the body ends.
    pub(crate) fn keep(&mut self, place: Slot) {
        if matches!(self.inner, Inner::Live(_)) {
            self.place = Some(place);
        }
    }

    /// Closes the connection and gives the place back.
    fn close(&mut self) {
        self.ended = true;
        self.inner = Inner::Whole(None);
        self.timer = None;
        self.place = None;
    }

    fn fails(&mut self, why: BodyError) -> BodyError {
        self.close();
        if let Some(entry) = self.entry.take().filter(|_| why.counts()) {
            entry.failed();
        }
        why
    }

    /// The reason for which it has to end now, while nothing comes.
    fn over(&mut self, cx: &mut Context<'_>) -> Option<BodyError> {
        let until = |last: Instant, bounds: &Bounds| {
            last.checked_add(bounds.idle).map_or(bounds.deadline, |idle| idle.min(bounds.deadline))
        };
        loop {
            let next = until(self.last, &self.bounds);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(next)));
            if timer.as_mut().poll(cx).is_pending() {
                return None;
            }
            let now = Instant::now();
            if now >= self.bounds.deadline {
                return Some(self.bounds.late);
            }
            if now >= next {
                return Some(BodyError::Idle(self.bounds.idle));
            }
            // Pieces have come since it was set: it is moved once in a while, not for every piece.
            timer.as_mut().reset(next);
        }
    }

    /// A piece as it is passed on. `None`: nothing of it can go on yet.
    fn piece(&mut self, data: Bytes) -> Result<Option<Bytes>, BodyError> {
        self.last = Instant::now();
        if self.last >= self.bounds.deadline {
            return Err(self.bounds.late);
        }
        self.seen = self.seen.saturating_add(data.len() as u64);
        if self.seen > self.bounds.max_bytes {
            return Err(BodyError::TooLarge(self.bounds.max_bytes));
        }
        let data = match &mut self.decoder {
            Some(decoder) => {
                let mut events = Vec::new();
                if decoder.push(&data, &mut events).is_err() {
                    self.failed = Some(BodyError::Malformed);
                }
                Bytes::from(events)
            }
            None => data,
        };
        let data = match &mut self.replacer {
            Some(replacer) => replacer.push(data).map_err(|_| BodyError::Unsearchable)?,
            None => data,
        };
        Ok(Some(data).filter(|data| !data.is_empty()))
    }

    fn end(&mut self) -> Option<Result<Bytes, BodyError>> {
        let cut = self.decoder.as_ref().is_some_and(|decoder| decoder.finish().is_err());
        let rest = self.replacer.as_mut().map(Replacer::finish);
        if cut {
            return Some(Err(self.fails(BodyError::Malformed)));
        }
        self.close();
        if let Some(entry) = self.entry.take() {
            entry.good();
        }
        match rest {
            Some(Ok(rest)) if !rest.is_empty() => Some(Ok(rest)),
            Some(Err(_)) => Some(Err(BodyError::Unsearchable)),
            _ => None,
        }
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if let Some(why) = self.failed.take() {
                return Poll::Ready(Some(Err(self.fails(why))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let live = match &mut self.inner {
                Inner::Live(live) => live,
                Inner::Whole(bytes) => {
                    let bytes = bytes.take();
                    self.ended |= bytes.is_none();
                    return Poll::Ready(bytes.map(Ok));
                }
            };
            let Poll::Ready(polled) = Pin::new(live.as_mut()).poll_frame(cx) else {
                return match self.over(cx) {
                    Some(why) => Poll::Ready(Some(Err(self.fails(why)))),
                    None => Poll::Pending,
                };
            };
            match polled {
                None => return Poll::Ready(self.end()),
                Some(Err(_)) => return Poll::Ready(Some(Err(self.fails(BodyError::Lost)))),
                // Trailers are not passed on.
                Some(Ok(frame)) => match frame.into_data().map_or(Ok(None), |data| self.piece(data)) {
                    Ok(None) => {}
                    Ok(Some(data)) => return Poll::Ready(Some(Ok(data))),
                    Err(why) => return Poll::Ready(Some(Err(self.fails(why)))),
                },
            }
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.next(cx).map(|next| next.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Whole(None) => self.failed.is_none(),
            _ => self.ended && self.failed.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Inner::Live(_) => SizeHint::default(),
        }
    }
}
