//! The kernel's door: one function by which a guest sends texts to the runtime.
//!
//! Bounds the length of a request. The runtime interprets it.

use wasmtime::{
    StoreContextMut,
    component::{Linker, WasmList},
};

use crate::sandbox::{Exit, SandboxView};

/// The longest request, in bytes.
pub(crate) const MAX_REQUEST: usize = 32 << 20;

/// Answers a guest's requests.
pub trait Door: Send {
    /// Returns the answer, or an error text for the guest.
    fn call(&mut self, request: &[u8]) -> Result<Vec<u8>, String>;
}

impl<F: FnMut(&[u8]) -> Result<Vec<u8>, String> + Send> Door for F {
    fn call(&mut self, request: &[u8]) -> Result<Vec<u8>, String> {
        self(request)
    }
}

type Answer = Result<Vec<u8>, String>;

/// Links `cofferdam:kernel/door`. The [`Door`] borrows the request from the guest's memory without a copy.
pub fn add_door_to_linker<T: SandboxView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut door = linker.instance("cofferdam:kernel/door@0.1.0")?;
    door.func_wrap("call", call::<T>)?;
    door.func_wrap("exit", |_: StoreContextMut<'_, T>, (code,): (i32,)| -> wasmtime::Result<()> {
        Err(Exit(code).into())
    })
}

fn call<T: SandboxView + 'static>(
    mut store: StoreContextMut<'_, T>,
    (request,): (WasmList<u8>,),
) -> wasmtime::Result<(Answer,)> {
    if request.len() > MAX_REQUEST {
        return Ok((Err(format!("a request may have at most {MAX_REQUEST} bytes")),));
    }
    // Taken out for the call, because the store lends the request.
    let Some(mut door) = store.data_mut().sandbox().take_door() else {
        return Ok((Err("this sandbox has no door".to_owned()),));
    };
    let answer = door.call(request.as_le_slice(&store));
    store.data_mut().sandbox().set_door(door);
    Ok((answer,))
}
