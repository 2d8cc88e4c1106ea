//! A request until its response's head arrives: `future-incoming-response`.
//!
//! Progresses whenever someone waits for it, or for room in the request's body.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use cofferdam_contract::{
    Problem,
    uplink::{REFUSED_HEADER, RefusedBy},
};
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, Limited};
use parking_lot::Mutex;
use wasmtime_wasi_io::{async_trait, poll::Pollable};

use super::{
    bindings::types::ErrorCode,
    error::{internal, refused},
    pipe::Pipe,
};
use crate::{
    gateway::{GatewayBody, GatewayFuture},
    interrupt::Timer,
};

/// The most concurrent requests of one sandbox, including those whose response body is still open.
const MAX_REQUESTS: usize = 32;
/// The longest refusal to read.
const MAX_PROBLEM: usize = 16 << 10;

/// A slot among the concurrent requests.
pub(super) struct Place(Arc<AtomicUsize>);

impl Place {
    pub(super) fn take(requests: &Arc<AtomicUsize>) -> Option<Self> {
        let one_more = |count: usize| (count < MAX_REQUESTS).then_some(count + 1);
        requests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Self(Arc::clone(requests)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A failed request.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) code: ErrorCode,
    /// The gateway's explanation, for the log, because error codes have no text.
    pub(super) detail: Option<String>,
}

impl From<ErrorCode> for Failed {
    fn from(code: ErrorCode) -> Self {
        Self { code, detail: None }
    }
}

type Outcome = Result<Response<GatewayBody>, Failed>;
type Sending = Pin<Box<dyn Future<Output = Outcome> + Send>>;

enum State {
    Sending(Sending),
    Done(Outcome),
    Taken,
}

pub(super) struct Exchange {
    state: Mutex<State>,
    /// The deadline for the response's head.
    until: Option<Instant>,
    body: Option<Arc<Pipe>>,
}

/// The gateway's refusal in a response's head or trailers.
pub(super) fn refusal(headers: &HeaderMap) -> Option<RefusedBy> {
    let by = headers.get(REFUSED_HEADER)?;
    Some(by.to_str().ok().and_then(RefusedBy::parse).unwrap_or(RefusedBy::Internal))
}

async fn answer(sending: GatewayFuture) -> Outcome {
    let response = sending.await.map_err(ErrorCode::from)?;
    let Some(by) = refusal(response.headers()) else { return Ok(response) };
    let problem = Limited::new(response.into_body(), MAX_PROBLEM).collect().await.map(|body| body.to_bytes());
    let problem = serde_json::from_slice::<Problem>(&problem.unwrap_or_else(|_| Bytes::new()));
    Err(Failed { code: refused(by), detail: problem.ok().map(|problem| problem.detail) })
}

impl Exchange {
    /// Starts the request.
    pub(super) fn start(sending: GatewayFuture, until: Option<Instant>, body: Option<Arc<Pipe>>) -> Arc<Self> {
        let state = Mutex::new(State::Sending(Box::pin(answer(sending))));
        let exchange = Arc::new(Self { state, until, body });
        if let Some(body) = &exchange.body {
            body.started(Arc::downgrade(&exchange));
        }
        let _ = exchange.poll(&mut Context::from_waker(Waker::noop()));
        exchange
    }

    /// Ready once there is an outcome, even if it was taken already.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        let State::Sending(sending) = &mut *state else { return Poll::Ready(()) };
        let outcome = match sending.as_mut().poll(context) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending if pin!(Timer(self.until)).poll(context).is_ready() => {
                Err(ErrorCode::ConnectionReadTimeout.into())
            }
            Poll::Pending => return Poll::Pending,
        };
        // The guest's own mistake is a better explanation than a broken connection.
        let own = self.body.as_ref().and_then(|body| body.failure());
        *state = State::Done(outcome.map_err(|failed| own.map_or(failed, Failed::from)));
        Poll::Ready(())
    }

    /// `None`: not yet. An error in the outer result: taken already.
    fn take(&self) -> Option<Result<Outcome, ()>> {
        let _ = self.poll(&mut Context::from_waker(Waker::noop()));
        let mut state = self.state.lock();
        match &*state {
            State::Sending(_) => None,
            State::Taken => Some(Err(())),
            State::Done(_) => match std::mem::replace(&mut *state, State::Taken) {
                State::Done(outcome) => Some(Ok(outcome)),
                _ => Some(Err(())),
            },
        }
    }
}

/// Cancels the request when dropped before its response was taken.
pub struct FutureIncomingResponse {
    exchange: Arc<Exchange>,
    /// Passed on to the response.
    place: Option<Place>,
    pub(super) between: Option<Duration>,
}

/// The outcome of a request: a response or a failure.
type Answered = Result<(Response<GatewayBody>, Place), Failed>;

impl FutureIncomingResponse {
    pub(super) fn new(exchange: Arc<Exchange>, place: Place, between: Option<Duration>) -> Self {
        Self { exchange, place: Some(place), between }
    }

    pub(super) fn take(&mut self) -> Option<Result<Answered, ()>> {
        let outcome = match self.exchange.take()? {
            Ok(outcome) => outcome,
            Err(()) => return Some(Err(())),
        };
        let place = self.place.take();
        Some(Ok(outcome.and_then(|response| Ok((response, place.ok_or_else(|| internal("taken"))?)))))
    }
}

#[async_trait]
impl Pollable for FutureIncomingResponse {
    async fn ready(&mut self) {
        poll_fn(|context| self.exchange.poll(context)).await;
    }
}
