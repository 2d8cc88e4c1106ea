//! Bodies of answers: whole ones, and streams that are counted while they are sent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;

use super::Shared;

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A stream of pieces; the server counts whether it was sent to the end.
pub(super) fn pieces(shared: &Arc<Shared>, pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    shared.open.fetch_add(1, Ordering::SeqCst);
    let watched = Watched { pieces: Box::pin(pieces), shared: Arc::clone(shared), over: false };
    StreamBody::new(watched.map(|piece| piece.map(Frame::data))).boxed_unsync()
}

/// The events with a pause before each but the first.
pub(super) fn paced(events: Vec<Bytes>, pause: Duration) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::iter(events.into_iter().enumerate()).then(move |(at, event)| async move {
        if at > 0 && !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        Ok(event)
    })
}

/// The connection breaks.
pub(super) fn broken() -> impl Stream<Item = io::Result<Bytes>> + Send {
    // What came before is on the wire by then.
    stream::once(async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(io::Error::other("the fake breaks off"))
    })
}

/// The same piece for ever, with a pause that leaves the machine usable.
pub(super) fn for_ever(piece: Bytes) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::repeat(piece).then(|piece| async move {
        tokio::time::sleep(Duration::from_millis(2)).await;
        Ok(piece)
    })
}

struct Watched {
    pieces: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>,
    shared: Arc<Shared>,
    over: bool,
}

impl Stream for Watched {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.pieces.as_mut().poll_next(context);
        self.over |= matches!(next, Poll::Ready(None | Some(Err(_))));
        next
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::SeqCst);
        let count = if self.over { &self.shared.finished } else { &self.shared.cancelled };
        count.fetch_add(1, Ordering::SeqCst);
    }
}
