//! `wasi:random`: every interface uses the operating system's generator, including the insecure ones.

use cofferdam_contract::LimitName;

use super::{
    MAX_READ,
    bindings::random::{insecure, insecure_seed, random},
};
use crate::sandbox::{Sandbox, Stop};

fn bytes(sandbox: &mut Sandbox, len: u64) -> wasmtime::Result<Vec<u8>> {
    let len = usize::try_from(len).ok().filter(|len| *len <= MAX_READ).ok_or(Stop(LimitName::HostMemory))?;
    let mut bytes = vec![0; len];
    sandbox.random(&mut bytes)?;
    Ok(bytes)
}

fn word(sandbox: &mut Sandbox) -> wasmtime::Result<u64> {
    let mut word = [0; 8];
    sandbox.random(&mut word)?;
    Ok(u64::from_le_bytes(word))
}

impl random::Host for Sandbox {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        bytes(self, len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        word(self)
    }
}

impl insecure::Host for Sandbox {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        bytes(self, len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        word(self)
    }
}

impl insecure_seed::Host for Sandbox {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((word(self)?, word(self)?))
    }
}
