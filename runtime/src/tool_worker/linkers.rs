//! Links components: WASI over in-memory files always, the rest by their grants. Imports that no grant covers are not
//! linked.

use std::collections::HashMap;
use std::sync::Arc;

use cofferdam_contract::Problem;
use cofferdam_host_api::{Capabilities, add_capabilities_to_linker, deny_sockets};
use parking_lot::Mutex;
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

use super::state::ToolState;
use crate::error::Error;

/// One linker for each set of capabilities. There are few.
pub(super) struct Linkers {
    engine: Engine,
    made: Mutex<HashMap<Capabilities, Arc<Linker<ToolState>>>>,
}

impl Linkers {
    pub(super) fn new(engine: &Engine) -> Self {
        Self { engine: engine.clone(), made: Mutex::default() }
    }

    fn linker(&self, capabilities: Capabilities) -> wasmtime::Result<Arc<Linker<ToolState>>> {
        let mut made = self.made.lock();
        if let Some(linker) = made.get(&capabilities) {
            return Ok(Arc::clone(linker));
        }
        let mut linker = Linker::new(&self.engine);
        add_capabilities_to_linker(&mut linker, capabilities)?;
        let linker = Arc::new(linker);
        made.insert(capabilities, Arc::clone(&linker));
        Ok(linker)
    }

    /// Links a component to the functions that it may call.
    ///
    /// # Errors
    /// [`Problem::bad_component`] if it imports something that is not available.
    pub(super) fn link(
        &self,
        component: &Component,
        capabilities: Capabilities,
    ) -> Result<InstancePre<ToolState>, Error> {
        let shared = self.linker(capabilities).map_err(Error::Sandbox)?;
        let mut own = Linker::clone(&shared);
        let linked = deny_sockets(&mut own, component).and_then(|_| own.instantiate_pre(component));
        linked.map_err(|error| Problem::bad_component(format!("It cannot be linked: {error:#}")).into())
    }
}
