//! Maps grants to the capabilities that a component is linked with. Anything not granted is not linked.

use cofferdam_contract::{GrantKind, Grants};
use wasmtime::{component::Linker, error::Context as _};

use crate::{
    config::Config,
    http::OutgoingHttp,
    keyvalue::KeyValue,
    logging::Logging,
    sandbox::{Sandbox, SandboxView},
    tools::ToolCalls,
    wasi,
};

/// Host functions that a component may import.
pub(crate) trait Capability<T>: Sync {
    /// The WIT interfaces, with their versions.
    fn imports(&self) -> &'static [&'static str];

    /// Links the interfaces.
    fn link(&self, linker: &mut Linker<T>) -> wasmtime::Result<()>;
}

/// The list of capabilities that need a grant. A new kind of grant does not compile without its line here.
fn of<T: SandboxView + 'static>(kind: GrantKind) -> Option<&'static dyn Capability<T>> {
    match kind {
        GrantKind::Http => Some(&OutgoingHttp),
        GrantKind::KeyValue => Some(&KeyValue),
        GrantKind::Tools => Some(&ToolCalls),
        // Models are reached over HTTP. The others are variables, and files at a mount point.
        GrantKind::Llm | GrantKind::Secrets | GrantKind::Config | GrantKind::Files => None,
    }
}

/// The list of capabilities that every component gets.
fn always<T: SandboxView + 'static>() -> [&'static dyn Capability<T>; 2] {
    [&Config, &Logging]
}

/// The granted kinds of host functions. Every component also gets WASI, configuration and logging. Equal values link
/// alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(u16);

impl Capabilities {
    /// These and the host functions of one more kind of grant. A kind without host functions changes nothing.
    #[must_use]
    pub fn with(self, kind: GrantKind) -> Self {
        if of::<Sandbox>(kind).is_some() { Self(self.0 | Self::bit(kind)) } else { self }
    }

    fn has(self, kind: GrantKind) -> bool {
        self.0 & Self::bit(kind) != 0
    }

    const fn bit(kind: GrantKind) -> u16 {
        1 << kind as u16
    }
}

impl From<&Grants> for Capabilities {
    fn from(grants: &Grants) -> Self {
        let provided = GrantKind::ALL.iter().filter(|kind| grants.provides(**kind));
        provided.fold(Self::default(), |capabilities, kind| capabilities.with(*kind))
    }
}

/// Links WASI, `wasi:config`, `wasi:logging` and the given capabilities.
pub fn add_capabilities_to_linker<T: SandboxView + 'static>(
    linker: &mut Linker<T>,
    capabilities: Capabilities,
) -> wasmtime::Result<()> {
    wasi::add_to_linker(linker)?;
    let granted = GrantKind::ALL.iter().filter(|kind| capabilities.has(**kind)).filter_map(|kind| of(*kind));
    always().into_iter().chain(granted).try_for_each(|capability| {
        capability.link(linker).with_context(|| format!("cannot link {}", capability.imports().join(", ")))
    })
}

#[cfg(test)]
mod tests;
