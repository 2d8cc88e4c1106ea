//! A body that can be taken away from one who holds it and does not read it: a stream that a worker lets stand would
//! keep its upstream's connection for ever otherwise.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::body::BodyError;

pub struct Lifeline<B> {
    body: Arc<Mutex<Option<B>>>,
    /// Ends the task that waits for the time, when this is dropped.
    _read: oneshot::Sender<()>,
}

impl<B: Body + Send + 'static> Lifeline<B> {
    /// Takes the body away at `deadline` or when `revoked`.
    pub fn new(body: B, deadline: Instant, revoked: CancellationToken) -> Self {
        let body = Arc::new(Mutex::new(Some(body)));
        let (read, dropped) = oneshot::channel::<()>();
        let taken = Arc::clone(&body);
        tokio::spawn(async move {
            tokio::select! {
                _ = dropped => {}
                () = revoked.cancelled() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
            let body = taken.lock().unwrap_or_else(|e| e.into_inner()).take();
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
        let mut body = self.body.lock().unwrap_or_else(|e| e.into_inner());
        match body.as_mut() {
            Some(body) => Pin::new(body).poll_frame(cx).map_err(|error| BodyError::Lost(error.to_string())),
            None => Poll::Ready(Some(Err(BodyError::Timeout))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.lock().unwrap_or_else(|e| e.into_inner()).as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.lock().unwrap_or_else(|e| e.into_inner()).as_ref().map(Body::size_hint).unwrap_or_default()
    }
}
