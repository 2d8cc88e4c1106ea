//! `wasi:logging`: lines on the sandbox's stderr, under the same limit as the rest of its output.

use bindings::wasi::logging::logging::{self, Level};
use wasmtime::{StoreContextMut, component::Linker};

use crate::{
    capabilities::Capability,
    sandbox::{Sandbox, SandboxView},
    stdio::Stdio,
    wasi::HasSandbox,
};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package cofferdam:logging-host; world host { import wasi:logging/logging@0.1.0-draft; }",
        world: "cofferdam:logging-host/host",
        imports: { default: trappable },
    });
}

/// The name before the interface had versions.
const FORMER: &str = "wasi:logging/logging";

/// `wasi:logging`.
pub(crate) struct Logging;

impl<T: SandboxView + 'static> Capability<T> for Logging {
    fn imports(&self) -> &'static [&'static str] {
        &["wasi:logging/logging@0.1.0-draft"]
    }

    fn link(&self, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        logging::add_to_linker::<T, HasSandbox>(linker, T::sandbox)?;
        linker.instance(FORMER)?.func_wrap(
            "log",
            |mut store: StoreContextMut<'_, T>, (level, context, message): (Level, String, String)| {
                logging::Host::log(store.data_mut().sandbox(), level, context, message)
            },
        )
    }
}

impl logging::Host for Sandbox {
    fn log(&mut self, level: Level, context: String, message: String) -> wasmtime::Result<()> {
        let level = match level {
            Level::Trace => "TRACE",
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
            Level::Critical => "CRITICAL",
        };
        let context = if context.is_empty() { context } else { format!(" {context}:") };
        Ok(self.output.write_text(Stdio::Stderr, &format!("{level}{context} {message}\n"))?)
    }
}
