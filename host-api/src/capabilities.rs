//! Which capabilities a component is linked to, from its grants. What is not granted is not there to be linked.

use cofferdam_contract::Grants;
use wasmtime::component::Linker;

use crate::{
    config::add_config_to_linker, http::add_http_to_linker, keyvalue::add_keyvalue_to_linker,
    logging::add_logging_to_linker, sandbox::SandboxView, tools::add_tools_to_linker, wasi,
};

/// The kinds of host functions beside WASI's own, configuration and logging, which everybody has. Equal ones link alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Capabilities {
    /// `wasi:http`, outbound.
    pub http: bool,
    /// `wasi:keyvalue`.
    pub keyvalue: bool,
    /// `cofferdam:tool/call`.
    pub tools: bool,
}

impl From<&Grants> for Capabilities {
    fn from(grants: &Grants) -> Self {
        Self { http: grants.reaches_http(), keyvalue: grants.keyvalue.is_some(), tools: !grants.tools.is_empty() }
    }
}

/// Links WASI, `wasi:config`, `wasi:logging` and the capabilities.
pub fn add_capabilities_to_linker<T: SandboxView + 'static>(
    linker: &mut Linker<T>,
    capabilities: Capabilities,
) -> wasmtime::Result<()> {
    wasi::add_to_linker(linker)?;
    add_config_to_linker(linker)?;
    add_logging_to_linker(linker)?;
    if capabilities.http {
        add_http_to_linker(linker)?;
    }
    if capabilities.keyvalue {
        add_keyvalue_to_linker(linker)?;
    }
    if capabilities.tools {
        add_tools_to_linker(linker)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
