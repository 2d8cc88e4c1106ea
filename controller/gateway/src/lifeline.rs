//! A body that is dropped at its deadline even if it is not being read: a worker that stops reading a stream would
//! otherwise keep the connection to the upstream forever.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::body::BodyError;

pub(crate) struct Lifeline<B> {
    body: Arc<Mutex<Option<B>>>,
    /// Dropping it ends the task that waits for the deadline.
    _read: oneshot::Sender<()>,
}

impl<B: Body + Send + 'static> Lifeline<B> {
    /// Drops the body at `deadline` or when `revoked`.
    pub(crate) fn new(body: B, deadline: Instant, revoked: CancellationToken) -> Self {
        let body = Arc::new(Mutex::new(Some(body)));
        let (read, dropped) = oneshot::channel::<()>();
        let taken = Arc::clone(&body);
        tokio::spawn(async move {
            tokio::select! {
                _ = dropped => {}
                () = revoked.cancelled() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
            let body = taken.lock().take();
            drop(body);
        });
        Self { body, _read: read }
    }
}

impl<B: Body + Unpin> Body for Lifeline<B>
where
    B::Error: std::fmt::Display,
{
    type Data = B::Data;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BodyError>>> {
        let mut body = self.body.lock();
        match body.as_mut() {
            Some(body) => Pin::new(body).poll_frame(cx).map_err(|error| BodyError::Lost(error.to_string())),
            None => Poll::Ready(Some(Err(BodyError::Timeout))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.lock().as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.lock().as_ref().map(Body::size_hint).unwrap_or_default()
    }
}
