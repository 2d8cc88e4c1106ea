//! Passes a worker's answer on: status, a few headers, the bytes. A short answer is read whole first, so that a worker
//! that dies in the middle causes a clear error instead of half an answer; an event stream reports it in its last
//! event.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use cofferdam_contract::run::{Event, RunError};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;

use cofferdam_http::ApiError;
use cofferdam_workers::Busy;

/// Answers up to this size in bytes are read whole.
const MAX_BUFFERED_BYTES: u64 = 1 << 20;

/// Passes an answer on; `kept` lives until the last byte is sent.
///
/// # Errors
/// [`cofferdam_contract::Problem::worker_lost`] if a short answer breaks off.
pub(crate) async fn pass<K: Send + Unpin + 'static>(
    response: http::Response<Busy>,
    kept: K,
) -> Result<Response, ApiError> {
    let (head, body) = response.into_parts();
    let mut answer = Response::builder().status(head.status);
    for name in [CONTENT_TYPE, RETRY_AFTER] {
        if let Some(value) = head.headers.get(&name) {
            answer = answer.header(name, value);
        }
    }
    if head.status == StatusCode::TOO_MANY_REQUESTS && !head.headers.contains_key(RETRY_AFTER) {
        answer = answer.header(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let events = kind.starts_with(b"text/event-stream");
    let body = match body.size_hint().exact() {
        Some(size) if size <= MAX_BUFFERED_BYTES => {
            let bytes = body.collect().await.map_err(|e| cofferdam_workers::lost_midway(&e))?.to_bytes();
            drop(kept);
            Body::from(bytes)
        }
        exact => {
            if let Some(size) = exact {
                answer = answer.header(CONTENT_LENGTH, size);
            }
            Body::new(Stream { body: Some(body), events, _kept: kept })
        }
    };
    answer.body(body).map_err(|error| cofferdam_workers::Error::from(error).into())
}

struct Stream<K> {
    body: Option<Busy>,
    events: bool,
    _kept: K,
}

impl<K: Unpin> http_body::Body for Stream<K> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Err(error))) if self.events => {
                self.body = None;
                tracing::warn!(%error, "worker lost in the middle of an event stream");
                let lost = Event::Error(RunError {
                    name: "WorkerLost".to_owned(),
                    message: "The worker was lost while this ran; the run did not finish.".to_owned(),
                    traceback: String::new(),
                });
                Poll::Ready(Some(Ok(Frame::data(Bytes::from(lost.to_sse())))))
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(http_body::Body::size_hint).unwrap_or_default()
    }
}
