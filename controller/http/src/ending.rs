//! Ends an answer when its caller's right to it ends: a key that is revoked, a token whose time is over. Never knows
//! which right that is.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Shorter answers are not watched: they are on their way already.
const MAX_SENT_AT_ONCE: u64 = 64 << 10;

/// The caller's right ended while its answer was on its way.
#[derive(Debug, thiserror::Error)]
#[error("the caller's key or token ended while its request was under way")]
struct Ended;

/// Waits for the answer, unless `ended` is cancelled first: then it is dropped, and `None`. A body that is still on its way
/// when that happens breaks off. `right` is kept as long as the body.
pub async fn unless_ended<R: Send + 'static>(
    answer: impl Future<Output = Response>,
    ended: &CancellationToken,
    right: R,
) -> Option<Response> {
    let response = tokio::select! {
        biased;
        response = answer => response,
        () = ended.cancelled() => return None,
    };
    Some(response.map(|body| watched(body, ended, right)))
}

fn watched<R: Send + 'static>(body: Body, ended: &CancellationToken, right: R) -> Body {
    if body.size_hint().upper().is_some_and(|bytes| bytes <= MAX_SENT_AT_ONCE) {
        return body;
    }
    Body::new(Watched { body, ended: Box::pin(ended.clone().cancelled_owned()), _right: Box::new(right) })
}

struct Watched<R> {
    body: Body,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    _right: Box<R>,
}

impl<R> http_body::Body for Watched<R> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(axum::Error::new(Ended))));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn an_answer_and_its_stream_end_with_the_right() {
        let ended = CancellationToken::new();
        let endless = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let mut streaming = unless_ended(async { Response::new(endless) }, &ended, ()).await.unwrap().into_body();
        let short = unless_ended(async { Response::new(Body::from("short")) }, &ended, ()).await.unwrap();
        let next = tokio::spawn(async move { streaming.frame().await });
        tokio::task::yield_now().await;
        ended.cancel();
        assert!(next.await.unwrap().unwrap().is_err(), "a stream breaks off");
        assert_eq!(short.into_body().collect().await.unwrap().to_bytes(), "short");
        assert!(unless_ended(std::future::pending(), &ended, ()).await.is_none());
    }
}
