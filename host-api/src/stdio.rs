//! stdin from memory, stdout and stderr into a sink of the runtime's.
//!
//! Buffers nothing: what the guest writes reaches the sink before the call returns, in order.

use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use wasmtime_wasi_io::{
    async_trait,
    poll::Pollable,
    streams::{InputStream, OutputStream, StreamError, StreamResult},
};

use crate::sandbox::Stop;

/// How much one call may write.
pub(crate) const WRITE_PERMIT: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdio {
    Stdout,
    Stderr,
}

/// Takes a guest's output as it comes.
pub trait OutputSink: Send {
    /// At most 64 KiB at a time, not cut at character boundaries. An error ends the run by that limit.
    fn write(&mut self, stream: Stdio, bytes: &[u8]) -> Result<(), Stop>;
}

impl<F: FnMut(Stdio, &[u8]) -> Result<(), Stop> + Send> OutputSink for F {
    fn write(&mut self, stream: Stdio, bytes: &[u8]) -> Result<(), Stop> {
        self(stream, bytes)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sink that the guest's open streams find, so that it can change from run to run.
#[derive(Default)]
pub(crate) struct Output(Mutex<Option<Box<dyn OutputSink>>>);

impl Output {
    pub(crate) fn set(&self, sink: Option<Box<dyn OutputSink>>) -> Option<Box<dyn OutputSink>> {
        std::mem::replace(&mut lock(&self.0), sink)
    }

    /// A text of ours in pieces that a sink takes.
    pub(crate) fn write_text(&self, stream: Stdio, text: &str) -> Result<(), Stop> {
        text.as_bytes().chunks(WRITE_PERMIT).try_for_each(|chunk| self.write(stream, chunk))
    }

    fn write(&self, stream: Stdio, bytes: &[u8]) -> Result<(), Stop> {
        match lock(&self.0).as_mut() {
            Some(sink) => sink.write(stream, bytes),
            None => Ok(()),
        }
    }
}

pub(crate) struct OutputTo {
    pub(crate) output: Arc<Output>,
    pub(crate) stream: Stdio,
}

#[async_trait]
impl Pollable for OutputTo {
    async fn ready(&mut self) {}
}

impl OutputStream for OutputTo {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.output.write(self.stream, &bytes).map_err(|stop| StreamError::Trap(stop.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_PERMIT)
    }
}

#[derive(Default)]
pub(crate) struct Stdin(Mutex<Bytes>);

impl Stdin {
    pub(crate) fn set(&self, bytes: Bytes) {
        *lock(&self.0) = bytes;
    }
}

pub(crate) struct InputFrom(pub(crate) Arc<Stdin>);

#[async_trait]
impl Pollable for InputFrom {
    async fn ready(&mut self) {}
}

impl InputStream for InputFrom {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let mut rest = lock(&self.0.0);
        if rest.is_empty() {
            return Err(StreamError::Closed);
        }
        let size = size.min(rest.len());
        Ok(rest.split_to(size))
    }
}
