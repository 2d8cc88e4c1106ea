//! `wasi:config`: values from the tool's deployment. Never secrets, and nothing from the process's environment.

use bindings::wasi::config::store;
use wasmtime::{
    StoreContextMut,
    component::{Linker, LinkerInstance},
};

use crate::capabilities::Capability;
use crate::sandbox::{Sandbox, SandboxView};
use crate::wasi::HasSandbox;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package cofferdam:config-host; world host { import wasi:config/store@0.2.0-rc.1; }",
        world: "cofferdam:config-host/host",
        imports: { default: trappable },
    });
}

/// Former names of the same interface.
const FORMER: [&str; 2] = ["wasi:config/store@0.2.0-draft", "wasi:config/runtime@0.2.0-draft"];

/// `wasi:config`.
pub(crate) struct Config;

impl<T: SandboxView + 'static> Capability<T> for Config {
    fn imports(&self) -> &'static [&'static str] {
        &["wasi:config/store@0.2.0-rc.1"]
    }

    fn link(&self, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        store::add_to_linker::<T, HasSandbox>(linker, T::sandbox)?;
        FORMER.iter().try_for_each(|name| add_former(&mut linker.instance(name)?))
    }
}

fn add_former<T: SandboxView + 'static>(interface: &mut LinkerInstance<'_, T>) -> wasmtime::Result<()> {
    interface.func_wrap("get", |mut store: StoreContextMut<'_, T>, (key,): (String,)| {
        Ok((store::Host::get(store.data_mut().sandbox(), key)?,))
    })?;
    interface.func_wrap("get-all", |mut store: StoreContextMut<'_, T>, (): ()| {
        Ok((store::Host::get_all(store.data_mut().sandbox())?,))
    })
}

impl store::Host for Sandbox {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, store::Error>> {
        Ok(Ok(self.config.get(&key).cloned()))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, store::Error>> {
        Ok(Ok(self.config.iter().map(|(key, value)| (key.clone(), value.clone())).collect()))
    }
}
