//! The incoming side: the response, its body as a stream, and trailers, which are always empty.
//!
//! Holds only the last piece of a body.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use parking_lot::Mutex;
use wasmtime::component::Resource;
use wasmtime_wasi_io::{
    async_trait,
    poll::{DynPollable, Pollable, subscribe},
    streams::{DynInputStream, InputStream, StreamError, StreamResult},
};

use super::{
    Fields,
    bindings::types::{ErrorCode, HostFutureTrailers, HostIncomingBody, HostIncomingResponse},
    error::{failed, refused},
    exchange::{Place, refusal},
    fields,
};
use crate::{
    gateway::GatewayBody,
    hold::{Held, Hold},
    interrupt::Timer,
    sandbox::{Sandbox, Stop, full_is_a_limit, table_error},
};

/// Unread pieces to drain before checking whether the run is over.
const DRAINED_PIECES: usize = 64;

/// Reads a body piece by piece.
pub(super) struct Reader {
    body: Option<GatewayBody>,
    chunk: Bytes,
    failed: Option<ErrorCode>,
    /// The longest wait for a piece.
    between: Option<Duration>,
    waiting: Option<Instant>,
    place: Option<Place>,
}

impl Reader {
    pub(super) fn new(body: GatewayBody, between: Option<Duration>, place: Place) -> Self {
        Self { body: Some(body), chunk: Bytes::new(), failed: None, between, waiting: None, place: Some(place) }
    }

    fn end(&mut self, failed: Option<ErrorCode>) -> Poll<()> {
        (self.body, self.place, self.failed) = (None, None, failed);
        Poll::Ready(())
    }

    /// Ready when there is a piece, or when there will be none.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(body) = self.body.as_mut().filter(|_| self.chunk.is_empty()) else { return Poll::Ready(()) };
            match Pin::new(body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.waiting = None;
                    match frame.into_data() {
                        Ok(chunk) => self.chunk = chunk,
                        Err(frame) => {
                            let by = frame.trailers_ref().and_then(refusal);
                            if by.is_some() {
                                return self.end(by.map(refused));
                            }
                        }
                    }
                }
                Poll::Ready(Some(Err(error))) => return self.end(Some(error.into())),
                Poll::Ready(None) => return self.end(None),
                Poll::Pending => {
                    let since = *self.waiting.get_or_insert_with(Instant::now);
                    let until = self.between.map(|between| since.checked_add(between)).unwrap_or_default();
                    if pin!(Timer(until)).poll(context).is_ready() {
                        return self.end(Some(ErrorCode::ConnectionReadTimeout));
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}

pub struct IncomingResponse {
    status: u16,
    headers: Arc<HeaderMap>,
    body: Option<Reader>,
    _held: Hold,
}

impl IncomingResponse {
    pub(super) fn new(status: u16, headers: Arc<HeaderMap>, body: Reader, held: &Held) -> Result<Self, Stop> {
        let held = held.hold(fields::bytes(&headers))?;
        Ok(Self { status, headers, body: Some(body), _held: held })
    }
}

pub struct IncomingBody {
    reader: Arc<Mutex<Reader>>,
    streamed: bool,
}

struct BodyStream(Arc<Mutex<Reader>>);

#[async_trait]
impl Pollable for BodyStream {
    async fn ready(&mut self) {
        poll_fn(|context| self.0.lock().poll(context)).await;
    }
}

impl InputStream for BodyStream {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let mut reader = self.0.lock();
        let _ = reader.poll(&mut Context::from_waker(Waker::noop()));
        if reader.chunk.is_empty() && reader.body.is_none() {
            return Err(reader.failed.take().map_or(StreamError::Closed, failed));
        }
        let size = size.min(reader.chunk.len());
        Ok(reader.chunk.split_to(size))
    }
}

/// Ready at the body's end. Drains whatever the guest has not read.
pub struct FutureTrailers {
    reader: Arc<Mutex<Reader>>,
    taken: bool,
}

impl FutureTrailers {
    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut reader = self.reader.lock();
        for _ in 0..DRAINED_PIECES {
            reader.chunk = Bytes::new();
            match reader.poll(context) {
                Poll::Ready(()) if reader.body.is_some() => {}
                ended_or_not => return ended_or_not,
            }
        }
        // The body may be endless; the run is not.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[async_trait]
impl Pollable for FutureTrailers {
    async fn ready(&mut self) {
        poll_fn(|context| self.poll(context)).await;
    }
}

impl HostIncomingResponse for Sandbox {
    fn status(&mut self, response: Resource<IncomingResponse>) -> wasmtime::Result<u16> {
        Ok(self.table.get(&response)?.status)
    }

    fn headers(&mut self, response: Resource<IncomingResponse>) -> wasmtime::Result<Resource<Fields>> {
        let headers = Arc::clone(&self.table.get(&response)?.headers);
        let fields = Fields::new(headers, false, &self.held)?;
        self.push(fields)
    }

    fn consume(
        &mut self,
        response: Resource<IncomingResponse>,
    ) -> wasmtime::Result<Result<Resource<IncomingBody>, ()>> {
        let Some(reader) = self.table.get_mut(&response)?.body.take() else { return Ok(Err(())) };
        self.push(IncomingBody { reader: Arc::new(Mutex::new(reader)), streamed: false }).map(Ok)
    }

    fn drop(&mut self, response: Resource<IncomingResponse>) -> wasmtime::Result<()> {
        self.table.delete(response)?;
        Ok(())
    }
}

impl HostIncomingBody for Sandbox {
    fn stream(&mut self, body: Resource<IncomingBody>) -> wasmtime::Result<Result<Resource<DynInputStream>, ()>> {
        let incoming = self.table.get_mut(&body)?;
        if std::mem::replace(&mut incoming.streamed, true) {
            return Ok(Err(()));
        }
        let stream: DynInputStream = Box::new(BodyStream(Arc::clone(&incoming.reader)));
        self.table.push_child(stream, &body).map(Ok).map_err(table_error)
    }

    fn finish(&mut self, body: Resource<IncomingBody>) -> wasmtime::Result<Resource<FutureTrailers>> {
        let reader = self.table.delete(body)?.reader;
        self.push(FutureTrailers { reader, taken: false })
    }

    fn drop(&mut self, body: Resource<IncomingBody>) -> wasmtime::Result<()> {
        self.table.delete(body)?;
        Ok(())
    }
}

type Trailers = Result<Option<Resource<Fields>>, ErrorCode>;

impl HostFutureTrailers for Sandbox {
    fn subscribe(&mut self, trailers: Resource<FutureTrailers>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(&mut self.table, trailers).map_err(full_is_a_limit)
    }

    fn get(&mut self, trailers: Resource<FutureTrailers>) -> wasmtime::Result<Option<Result<Trailers, ()>>> {
        let trailers = self.table.get_mut(&trailers)?;
        if trailers.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            return Ok(None);
        }
        if std::mem::replace(&mut trailers.taken, true) {
            return Ok(Some(Err(())));
        }
        let failed = trailers.reader.lock().failed.take();
        Ok(Some(Ok(failed.map_or(Ok(None), Err))))
    }

    fn drop(&mut self, trailers: Resource<FutureTrailers>) -> wasmtime::Result<()> {
        self.table.delete(trailers)?;
        Ok(())
    }
}
