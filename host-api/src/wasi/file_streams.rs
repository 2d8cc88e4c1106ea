//! Streams over an open file: always ready, each with its own position.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime_wasi_io::{
    async_trait,
    poll::Pollable,
    streams::{InputStream, OutputStream, StreamError, StreamResult},
};

use super::MAX_READ;
use crate::{
    stdio::WRITE_PERMIT,
    vfs::{FsError, handle::Handle},
};

pub(crate) struct FileInput {
    pub(crate) file: Arc<Handle>,
    pub(crate) position: u64,
}

fn failed(error: FsError) -> StreamError {
    StreamError::LastOperationFailed(error.into())
}

#[async_trait]
impl Pollable for FileInput {
    async fn ready(&mut self) {}
}

impl InputStream for FileInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let bytes = self.file.read(self.position, size.min(MAX_READ)).map_err(failed)?;
        if bytes.is_empty() && size > 0 {
            return Err(StreamError::Closed);
        }
        self.position += bytes.len() as u64;
        Ok(bytes.into())
    }
}

pub(crate) struct FileOutput {
    pub(crate) file: Arc<Handle>,
    /// `None`: always append.
    pub(crate) position: Option<u64>,
}

#[async_trait]
impl Pollable for FileOutput {
    async fn ready(&mut self) {}
}

impl OutputStream for FileOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let (written, _) = self.file.write(self.position, &bytes).map_err(failed)?;
        self.position = self.position.map(|position| position + written as u64);
        if written < bytes.len() { Err(failed(FsError::NoSpace)) } else { Ok(()) }
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_PERMIT)
    }
}
