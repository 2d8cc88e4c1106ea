//! Bodies that pass through: counted, timed, secrets put in or taken out, piece by piece. Never held whole.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cofferdam_contract::uplink::{REFUSED_HEADER, RefusedBy};
use cofferdam_redact::Replacer;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Bodies of the gateway's answers and of its requests.
pub(crate) type GatewayBody = UnsyncBoxBody<Bytes, BodyError>;

/// A body that ends before its end. The other side sees the stream break off.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body is longer than the {0} bytes that are granted")]
    TooLarge(u64),
    #[error("the time for the request is over")]
    Timeout,
    #[error("no data came for {} s", .0.as_secs())]
    Idle(Duration),
    #[error("the run has ended")]
    Revoked,
    /// A secret that must not be sent to the host.
    #[error("{0}")]
    Forbidden(String),
    #[error("the other side broke off: {0}")]
    Lost(String),
}

impl BodyError {
    /// The word for it in an answer's trailers. None: the stream has to break off instead.
    fn refused_by(&self) -> Option<RefusedBy> {
        match self {
            Self::TooLarge(_) => Some(RefusedBy::TooLarge),
            Self::Timeout | Self::Idle(_) => Some(RefusedBy::Timeout),
            Self::Revoked => Some(RefusedBy::Token),
            Self::Forbidden(_) => Some(RefusedBy::Policy),
            Self::Lost(_) => None,
        }
    }
}

/// An answer's body. If it is cut off, its trailers say why.
pub(crate) struct WithTrailers<B>(pub(crate) Bounded<B>);

impl<B> Body for WithTrailers<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.0).poll_frame(cx);
        let Poll::Ready(Some(Err(why))) = &polled else { return polled };
        tracing::debug!(%why, "cutting off an answer");
        let Some(by) = why.refused_by() else { return polled };
        let mut trailers = HeaderMap::new();
        trailers.insert(REFUSED_HEADER, HeaderValue::from_static(by.as_str()));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// The bounds of a body.
pub(crate) struct Bounds {
    pub(crate) max_bytes: u64,
    pub(crate) deadline: Instant,
    /// The longest silence of the other side.
    pub(crate) idle: Option<Duration>,
    pub(crate) revoked: CancellationToken,
}

/// Filled when a body breaks off, for whoever sent it.
pub(crate) type Reason = Arc<OnceLock<BodyError>>;

/// A body within bounds, its texts replaced.
pub(crate) struct Bounded<B> {
    inner: B,
    max_bytes: u64,
    seen: u64,
    replace: Option<Replacer>,
    ended: bool,
    deadline: Pin<Box<Sleep>>,
    revoked: Pin<Box<WaitForCancellationFutureOwned>>,
    idle: Option<Duration>,
    /// Runs while we wait for the other side.
    silence: Option<Pin<Box<Sleep>>>,
    reason: Reason,
    _place: Option<OwnedSemaphorePermit>,
}

impl<B> Bounded<B> {
    pub(crate) fn new(
        inner: B,
        bounds: Bounds,
        replace: Option<Replacer>,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            inner,
            max_bytes: bounds.max_bytes,
            seen: 0,
            replace,
            ended: false,
            deadline: Box::pin(sleep_until(bounds.deadline)),
            revoked: Box::pin(bounds.revoked.cancelled_owned()),
            idle: bounds.idle,
            silence: None,
            reason: Reason::default(),
            _place: place,
        }
    }

    pub(crate) fn reason(&self) -> Reason {
        Arc::clone(&self.reason)
    }

    /// The reason for which the body has to end now.
    fn over(&mut self, cx: &mut Context<'_>) -> Option<BodyError> {
        if self.revoked.as_mut().poll(cx).is_ready() {
            return Some(BodyError::Revoked);
        }
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Some(BodyError::Timeout);
        }
        let idle = self.idle?;
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(idle)));
        silence.as_mut().poll(cx).is_ready().then_some(BodyError::Idle(idle))
    }

    /// A piece, counted and replaced. None: all of it is held back.
    fn piece(&mut self, data: Bytes) -> Result<Option<Bytes>, BodyError> {
        self.seen = self.seen.saturating_add(data.len() as u64);
        if self.seen > self.max_bytes {
            return Err(BodyError::TooLarge(self.max_bytes));
        }
        let data = match &mut self.replace {
            Some(replace) => replace.push(data).map_err(|why| BodyError::Forbidden(why.0))?,
            None => data,
        };
        Ok(Some(data).filter(|data| !data.is_empty()))
    }

    fn end(&mut self) -> Option<Result<Bytes, BodyError>> {
        self.ended = true;
        let rest = self.replace.as_mut()?.finish().map_err(|why| BodyError::Forbidden(why.0));
        Some(rest).filter(|rest| !matches!(rest, Ok(rest) if rest.is_empty()))
    }
}

impl<B> Bounded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            let Poll::Ready(polled) = Pin::new(&mut self.inner).poll_frame(cx) else {
                return self.over(cx).map_or(Poll::Pending, |why| Poll::Ready(Some(Err(why))));
            };
            self.silence = None;
            match polled {
                None => return Poll::Ready(self.end()),
                Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::Lost(error.to_string())))),
                // Trailers are not passed on.
                Some(Ok(frame)) => match frame.into_data().map_or(Ok(None), |data| self.piece(data)) {
                    Ok(None) => {}
                    Ok(Some(data)) => return Poll::Ready(Some(Ok(data))),
                    Err(why) => return Poll::Ready(Some(Err(why))),
                },
            }
        }
    }
}

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = self.next(cx);
        next.map(|next| {
            next.map(|data| {
                data.map(Frame::data).inspect_err(|why| {
                    self.ended = true;
                    // The first reason is the one that counts.
                    let _ = self.reason.set(why.clone());
                })
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended || (self.replace.is_none() && self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.replace {
            Some(_) if !self.inner.is_end_stream() => SizeHint::default(),
            _ => self.inner.size_hint(),
        }
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
