//! `wasi:random`: the kernel's generator for every kind of it; a guest cannot tell which is the insecure one.

use cofferdam_contract::LimitName;

use super::{
    MAX_READ,
    bindings::random::{insecure, insecure_seed, random},
};
use crate::sandbox::{Sandbox, Stop};

fn bytes(len: u64) -> wasmtime::Result<Vec<u8>> {
    let len = usize::try_from(len).ok().filter(|len| *len <= MAX_READ).ok_or(Stop(LimitName::HostMemory))?;
    let mut bytes = vec![0; len];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

impl random::Host for Sandbox {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        bytes(len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(getrandom::u64()?)
    }
}

impl insecure::Host for Sandbox {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        bytes(len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(getrandom::u64()?)
    }
}

impl insecure_seed::Host for Sandbox {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((getrandom::u64()?, getrandom::u64()?))
    }
}
