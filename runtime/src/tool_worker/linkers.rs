//! What a component is linked to: WASI over files in memory, always; the rest as its grants say. What no grant covers is
//! not there to be linked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cofferdam_contract::Problem;
use cofferdam_host_api::{Capabilities, add_capabilities_to_linker, deny_sockets};
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

use super::state::ToolState;
use crate::error::Error;

/// One linker for each set of capabilities; there are few.
pub(super) struct Linkers {
    engine: Engine,
    made: Mutex<HashMap<Capabilities, Arc<Linker<ToolState>>>>,
}

impl Linkers {
    pub(super) fn new(engine: &Engine) -> Self {
        Self { engine: engine.clone(), made: Mutex::default() }
    }

    fn linker(&self, capabilities: Capabilities) -> wasmtime::Result<Arc<Linker<ToolState>>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(linker) = made.get(&capabilities) {
            return Ok(Arc::clone(linker));
        }
        let mut linker = Linker::new(&self.engine);
        add_capabilities_to_linker(&mut linker, capabilities)?;
        let linker = Arc::new(linker);
        made.insert(capabilities, Arc::clone(&linker));
        Ok(linker)
    }

    /// Joins a component to what it may call.
    ///
    /// # Errors
    /// [`Problem::bad_component`] where it imports what is not there.
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
