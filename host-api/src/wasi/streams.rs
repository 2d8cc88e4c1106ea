//! `wasi:io/streams`: blocking calls first try without waiting, which is all that files and stdio ever need.

use wasmtime::component::Resource;
use wasmtime_wasi_io::{
    poll::{DynPollable, subscribe},
    streams::{DynInputStream, DynOutputStream, StreamError, StreamResult},
};

use super::{MAX_READ, bindings::io::streams};
use crate::{
    sandbox::{Sandbox, full_is_a_limit, table_error},
    stdio::WRITE_PERMIT,
};

static ZEROS: [u8; WRITE_PERMIT] = [0; WRITE_PERMIT];

fn clamp(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX).min(MAX_READ)
}

fn zeros(len: u64) -> StreamResult<Vec<u8>> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    Ok(ZEROS.get(..len).ok_or_else(|| StreamError::trap("more zeros than check-write permits"))?.to_vec())
}

impl Sandbox {
    fn wait<T>(&mut self, future: impl AsyncFnOnce(&mut Self) -> StreamResult<T>) -> StreamResult<T> {
        let interrupt = self.interrupt.clone();
        interrupt.block_on(future(self)).map_err(|interrupted| StreamError::Trap(interrupted.into()))?
    }

    fn write_all(&mut self, stream: &Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        if bytes.len() > WRITE_PERMIT {
            return Err(StreamError::trap("more than a blocking write may have"));
        }
        let output = self.table.get_mut(stream)?;
        if output.check_write()? < bytes.len() {
            return self
                .wait(async |sandbox| sandbox.table.get_mut(stream)?.blocking_write_and_flush(bytes.into()).await);
        }
        output.write(bytes.into())?;
        self.flush_all(stream)
    }

    fn flush_all(&mut self, stream: &Resource<DynOutputStream>) -> StreamResult<()> {
        let output = self.table.get_mut(stream)?;
        output.flush()?;
        if output.check_write()? == 0 {
            self.wait(async |sandbox| sandbox.table.get_mut(stream)?.write_ready().await)?;
        }
        Ok(())
    }

    fn read_some(&mut self, stream: &Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        let len = clamp(len);
        let bytes = self.table.get_mut(stream)?.read(len)?;
        if !bytes.is_empty() || len == 0 {
            return Ok(bytes.into());
        }
        self.wait(async |sandbox| Ok(sandbox.table.get_mut(stream)?.blocking_read(len).await?.into()))
    }
}

impl streams::Host for Sandbox {
    fn convert_stream_error(&mut self, error: StreamError) -> wasmtime::Result<streams::StreamError> {
        match error {
            StreamError::Closed => Ok(streams::StreamError::Closed),
            StreamError::LastOperationFailed(error) => Ok(streams::StreamError::LastOperationFailed(self.push(error)?)),
            StreamError::Trap(error) => Err(full_is_a_limit(error)),
        }
    }
}

impl streams::HostOutputStream for Sandbox {
    fn drop(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<()> {
        let mut stream = self.table.delete(stream).map_err(table_error)?;
        Ok(self.interrupt.block_on(stream.cancel())?)
    }

    fn check_write(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        Ok(self.table.get_mut(&stream)?.check_write()? as u64)
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        let output = self.table.get_mut(&stream)?;
        if bytes.len() > output.check_write()? {
            return Err(StreamError::trap("a write of more than check-write permits"));
        }
        output.write(bytes.into())
    }

    fn subscribe(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(&mut self.table, stream).map_err(full_is_a_limit)
    }

    fn blocking_write_and_flush(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        self.write_all(&stream, bytes)
    }

    fn blocking_write_zeroes_and_flush(&mut self, stream: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        self.write_all(&stream, zeros(len)?)
    }

    fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        self.write(stream, zeros(len)?)
    }

    fn flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        self.table.get_mut(&stream)?.flush()
    }

    fn blocking_flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        self.flush_all(&stream)
    }

    fn splice(&mut self, to: Resource<DynOutputStream>, from: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        let permit = self.table.get_mut(&to)?.check_write()?;
        let bytes = match clamp(len).min(permit) {
            0 => return Ok(0),
            len => self.table.get_mut(&from)?.read(len)?,
        };
        let len = bytes.len() as u64;
        if len > 0 {
            self.table.get_mut(&to)?.write(bytes)?;
        }
        Ok(len)
    }

    fn blocking_splice(
        &mut self,
        to: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        let permit = self.wait(async |sandbox| sandbox.table.get_mut(&to)?.write_ready().await)?;
        let bytes = match clamp(len).min(permit).min(WRITE_PERMIT) {
            0 => return Ok(0),
            len => self.read_some(&from, len as u64)?,
        };
        let len = bytes.len() as u64;
        self.write_all(&to, bytes)?;
        Ok(len)
    }
}

impl streams::HostInputStream for Sandbox {
    fn drop(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<()> {
        let mut stream = self.table.delete(stream).map_err(table_error)?;
        Ok(self.interrupt.block_on(stream.cancel())?)
    }

    fn read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        Ok(self.table.get_mut(&stream)?.read(clamp(len))?.into())
    }

    fn blocking_read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        self.read_some(&stream, len)
    }

    fn skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        Ok(self.table.get_mut(&stream)?.skip(clamp(len))? as u64)
    }

    fn blocking_skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        self.read_some(&stream, len).map(|bytes| bytes.len() as u64)
    }

    fn subscribe(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(&mut self.table, stream).map_err(full_is_a_limit)
    }
}
