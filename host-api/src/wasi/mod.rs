//! WASI 0.2 for a [`Sandbox`]: exactly the linked interfaces.

pub(crate) mod bindings;
mod cli;
mod clocks;
mod descriptor;
mod file_streams;
mod filesystem;
mod paths;
mod poll;
mod random;
mod streams;
#[cfg(test)]
pub(crate) mod tests;

use wasmtime::component::{HasData, Linker, ResourceTable};

use crate::sandbox::{Sandbox, SandboxView};
pub use descriptor::{Descriptor, DirectoryEntryStream, Failure};

/// The most bytes of one read, whatever the guest asks for.
pub(crate) const MAX_READ: usize = 1 << 20;

pub(crate) struct HasSandbox;

impl HasData for HasSandbox {
    type Data<'a> = &'a mut Sandbox;
}

struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

/// Links `wasi:cli` (environment, exit, stdio, no terminals), `wasi:clocks`, `wasi:random`, `wasi:filesystem` and
/// `wasi:io`.
pub fn add_to_linker<T: SandboxView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    macro_rules! link {
        ($($package:ident::$interface:ident),* $(,)?) => {
            $(bindings::$package::$interface::add_to_linker::<T, HasSandbox>(linker, T::sandbox)?;)*
        };
    }
    link!(
        cli::environment,
        cli::exit,
        cli::stdin,
        cli::stdout,
        cli::stderr,
        cli::terminal_input,
        cli::terminal_output,
        cli::terminal_stdin,
        cli::terminal_stdout,
        cli::terminal_stderr,
        clocks::monotonic_clock,
        clocks::wall_clock,
        filesystem::types,
        filesystem::preopens,
        io::poll,
        io::streams,
        random::random,
        random::insecure,
        random::insecure_seed,
    );
    paths::add_to_linker(linker)?;
    wasmtime_wasi_io::bindings::wasi::io::error::add_to_linker::<T, HasTable>(linker, |data| data.sandbox().table())
}
