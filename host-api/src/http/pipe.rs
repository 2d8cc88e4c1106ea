//! A request's body on its way from the guest to the gateway: a bounded buffer, so that a guest writes no faster than
//! the gateway reads.

use std::{
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use parking_lot::{Mutex, MutexGuard};

use super::{bindings::types::ErrorCode, exchange::Exchange};
use crate::{gateway::GatewayError, hold::Hold};

/// The most unread bytes.
pub(super) const MAX_IN_FLIGHT: usize = 256 << 10;
/// The most bytes per read.
const CHUNK: usize = 64 << 10;

pub(super) struct Pipe(Mutex<State>);

struct State {
    buffer: BytesMut,
    written: u64,
    /// The declared `content-length`.
    expected: Option<u64>,
    end: Option<Result<(), ErrorCode>>,
    /// True once the request is sent, so the body will be read.
    sent: bool,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// The request that owns the body, once it is in flight.
    exchange: Weak<Exchange>,
    /// Accounts for a full buffer from the start, so that what a guest may do does not depend on the reader's speed.
    _hold: Hold,
}

impl State {
    fn end_with(&mut self, end: Result<(), ErrorCode>) {
        self.end.get_or_insert(end);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Pipe {
    pub(super) fn new(expected: Option<u64>, hold: Hold) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            buffer: BytesMut::new(),
            written: 0,
            expected,
            end: None,
            sent: false,
            reader_gone: false,
            reader: None,
            writer: None,
            exchange: Weak::new(),
            _hold: hold,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    pub(super) fn started(&self, exchange: Weak<Exchange>) {
        let mut state = self.state();
        (state.sent, state.exchange) = (true, exchange);
    }

    /// True if there is no room and none will come while the guest waits, because the request is not sent.
    pub(super) fn stuck(&self) -> bool {
        let state = self.state();
        !state.sent && state.end.is_none() && state.buffer.len() >= MAX_IN_FLIGHT
    }

    /// Bytes that may be written now. `None` once the reader is gone.
    pub(super) fn capacity(&self) -> Option<usize> {
        let state = self.state();
        (!state.reader_gone && state.end.is_none()).then(|| MAX_IN_FLIGHT.saturating_sub(state.buffer.len()))
    }

    /// Accepts at most [`Self::capacity`] bytes. Fails if the body would exceed its `content-length`.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), ErrorCode> {
        let mut state = self.state();
        let written = state.written.saturating_add(bytes.len() as u64);
        if state.expected.is_some_and(|expected| written > expected) {
            let code = ErrorCode::HttpRequestBodySize(Some(written));
            state.end_with(Err(code.clone()));
            return Err(code);
        }
        state.written = written;
        state.buffer.extend_from_slice(bytes);
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        Ok(())
    }

    /// Ready when there is capacity, or never will be. Drives the request meanwhile, because nothing else may be
    /// polling it for it.
    pub(super) fn poll_capacity(&self, context: &mut Context<'_>) -> Poll<()> {
        let exchange = self.state().exchange.upgrade();
        if let Some(exchange) = exchange {
            let _ = exchange.poll(context);
        }
        let mut state = self.state();
        if state.reader_gone || state.end.is_some() || state.buffer.len() < MAX_IN_FLIGHT {
            return Poll::Ready(());
        }
        state.writer = Some(context.waker().clone());
        Poll::Pending
    }

    pub(super) fn finish(&self) -> Result<(), ErrorCode> {
        let mut state = self.state();
        let short = state.expected.is_some_and(|expected| expected != state.written);
        let end = if short { Err(ErrorCode::HttpRequestBodySize(Some(state.written))) } else { Ok(()) };
        state.end_with(end);
        state.end.clone().unwrap_or(Ok(()))
    }

    /// No effect on a body that has ended.
    pub(super) fn abandon(&self) {
        self.state().end_with(Err(ErrorCode::ConnectionTerminated));
    }

    /// The reason why the body is invalid, if it is.
    pub(super) fn failure(&self) -> Option<ErrorCode> {
        self.state().end.as_ref()?.as_ref().err().cloned()
    }
}

/// The gateway's end of the pipe.
pub(super) struct PipeBody(pub(super) Arc<Pipe>);

impl Body for PipeBody {
    type Data = Bytes;
    type Error = GatewayError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, GatewayError>>> {
        let mut state = self.0.state();
        if matches!(state.end, Some(Err(_))) {
            return Poll::Ready(Some(Err(GatewayError::Abandoned)));
        }
        if state.buffer.is_empty() {
            if state.end.is_some() {
                return Poll::Ready(None);
            }
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let chunk = state.buffer.len().min(CHUNK);
        let chunk = state.buffer.split_to(chunk).freeze();
        if let Some(writer) = state.writer.take() {
            writer.wake();
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        let state = self.0.state();
        state.buffer.is_empty() && matches!(state.end, Some(Ok(())))
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.0.state();
        let rest = state.expected.map(|expected| expected - state.written + state.buffer.len() as u64);
        rest.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

impl Drop for PipeBody {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.reader_gone = true;
        state.buffer = BytesMut::new();
        if let Some(writer) = state.writer.take() {
            writer.wake();
        }
    }
}
