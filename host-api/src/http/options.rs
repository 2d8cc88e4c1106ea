//! `request-options`: the guest's timeouts, bounded by the run's deadline.

use std::time::Duration;

use wasmtime::component::Resource;

use super::bindings::types::HostRequestOptions;
use crate::sandbox::Sandbox;

/// Timeouts in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestOptions {
    pub(super) connect: Option<u64>,
    first_byte: Option<u64>,
    between_bytes: Option<u64>,
}

impl RequestOptions {
    /// The time until the response's head. It includes the connect timeout, which the gateway enforces.
    pub(super) fn head(&self) -> Option<Duration> {
        let first_byte = Duration::from_nanos(self.first_byte?);
        Some(first_byte.saturating_add(Duration::from_nanos(self.connect.unwrap_or(0))))
    }

    pub(super) fn between(&self) -> Option<Duration> {
        self.between_bytes.map(Duration::from_nanos)
    }
}

type Set = wasmtime::Result<Result<(), ()>>;

impl HostRequestOptions for Sandbox {
    fn new(&mut self) -> wasmtime::Result<Resource<RequestOptions>> {
        self.push(RequestOptions::default())
    }

    fn connect_timeout(&mut self, options: Resource<RequestOptions>) -> wasmtime::Result<Option<u64>> {
        Ok(self.table.get(&options)?.connect)
    }

    fn set_connect_timeout(&mut self, options: Resource<RequestOptions>, duration: Option<u64>) -> Set {
        self.table.get_mut(&options)?.connect = duration;
        Ok(Ok(()))
    }

    fn first_byte_timeout(&mut self, options: Resource<RequestOptions>) -> wasmtime::Result<Option<u64>> {
        Ok(self.table.get(&options)?.first_byte)
    }

    fn set_first_byte_timeout(&mut self, options: Resource<RequestOptions>, duration: Option<u64>) -> Set {
        self.table.get_mut(&options)?.first_byte = duration;
        Ok(Ok(()))
    }

    fn between_bytes_timeout(&mut self, options: Resource<RequestOptions>) -> wasmtime::Result<Option<u64>> {
        Ok(self.table.get(&options)?.between_bytes)
    }

    fn set_between_bytes_timeout(&mut self, options: Resource<RequestOptions>, duration: Option<u64>) -> Set {
        self.table.get_mut(&options)?.between_bytes = duration;
        Ok(Ok(()))
    }

    fn drop(&mut self, options: Resource<RequestOptions>) -> wasmtime::Result<()> {
        self.table.delete(options)?;
        Ok(())
    }
}
