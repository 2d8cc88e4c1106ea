//! `wasi:io/poll`: every wait goes through the run's [`crate::Interrupt`].

use cofferdam_contract::LimitName;
use wasmtime::component::Resource;
use wasmtime_wasi_io::{bindings::wasi::io::poll as io, poll::DynPollable};

use super::bindings::io::poll;
use crate::{
    interrupt::poll_once,
    sandbox::{Sandbox, Stop},
};

/// The most pollables of one call.
const MAX_POLLED: usize = 256;

impl poll::Host for Sandbox {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        if pollables.len() > MAX_POLLED {
            return Err(Stop(LimitName::HostMemory).into());
        }
        self.interrupt.block_on(io::Host::poll(&mut self.table, pollables))?
    }
}

impl poll::HostPollable for Sandbox {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        poll_once(io::HostPollable::ready(&mut self.table, pollable)).unwrap_or(Ok(false))
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.interrupt.block_on(io::HostPollable::block(&mut self.table, pollable))?
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        io::HostPollable::drop(&mut self.table, pollable)
    }
}
