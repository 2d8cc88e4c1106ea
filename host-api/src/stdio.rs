//! stdin from memory; stdout and stderr to the runtime's sink.
//!
//! Unbuffered: output reaches the sink in order, before the call returns.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use wasmtime_wasi_io::{
    async_trait,
    poll::Pollable,
    streams::{InputStream, OutputStream, StreamError, StreamResult},
};

use crate::sandbox::Stop;

/// The most bytes of one write.
pub(crate) const WRITE_PERMIT: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdio {
    Stdout,
    Stderr,
}

/// Receives a guest's output.
pub trait OutputSink: Send {
    /// Gets at most 64 KiB per call, possibly cut within a character. An error ends the run with that limit.
    fn write(&mut self, stream: Stdio, bytes: &[u8]) -> Result<(), Stop>;
}

impl<F: FnMut(Stdio, &[u8]) -> Result<(), Stop> + Send> OutputSink for F {
    fn write(&mut self, stream: Stdio, bytes: &[u8]) -> Result<(), Stop> {
        self(stream, bytes)
    }
}

/// The sink behind the guest's open streams, replaceable between runs.
#[derive(Default)]
pub(crate) struct Output(Mutex<Option<Box<dyn OutputSink>>>);

impl Output {
    pub(crate) fn set(&self, sink: Option<Box<dyn OutputSink>>) -> Option<Box<dyn OutputSink>> {
        std::mem::replace(&mut self.0.lock(), sink)
    }

    /// Writes our own text, in pieces that a sink accepts.
    pub(crate) fn write_text(&self, stream: Stdio, text: &str) -> Result<(), Stop> {
        text.as_bytes().chunks(WRITE_PERMIT).try_for_each(|chunk| self.write(stream, chunk))
    }

    fn write(&self, stream: Stdio, bytes: &[u8]) -> Result<(), Stop> {
        match self.0.lock().as_mut() {
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
        *self.0.lock() = bytes;
    }
}

pub(crate) struct InputFrom(pub(crate) Arc<Stdin>);

#[async_trait]
impl Pollable for InputFrom {
    async fn ready(&mut self) {}
}

impl InputStream for InputFrom {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let mut rest = self.0.0.lock();
        if rest.is_empty() {
            return Err(StreamError::Closed);
        }
        let size = size.min(rest.len());
        Ok(rest.split_to(size))
    }
}
