//! What a component is linked to: WASI over files in memory, always; the rest as its grants say. What no grant covers is
//! not there to be linked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cofferdam_contract::{Grants, Problem};
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

use super::state::ToolState;
use crate::error::Error;

/// The kinds of functions that a component is linked to beside WASI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Linking {
    http: bool,
    keyvalue: bool,
}

pub(super) fn linking(grants: &Grants) -> Linking {
    Linking { http: !grants.http.is_empty(), keyvalue: grants.keyvalue.is_some() }
}

/// One linker for each kind; there are few.
pub(super) struct Linkers {
    engine: Engine,
    made: Mutex<HashMap<Linking, Arc<Linker<ToolState>>>>,
}

impl Linkers {
    pub(super) fn new(engine: &Engine) -> Self {
        Self { engine: engine.clone(), made: Mutex::default() }
    }

    fn linker(&self, linking: Linking) -> wasmtime::Result<Arc<Linker<ToolState>>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(linker) = made.get(&linking) {
            return Ok(Arc::clone(linker));
        }
        let mut linker = Linker::new(&self.engine);
        cofferdam_host_api::add_to_linker(&mut linker)?;
        let linker = Arc::new(linker);
        made.insert(linking, Arc::clone(&linker));
        Ok(linker)
    }

    /// Joins a component to what it may call.
    ///
    /// # Errors
    /// [`Problem::bad_component`] where it imports what is not there.
    pub(super) fn link(&self, component: &Component, linking: Linking) -> Result<InstancePre<ToolState>, Error> {
        let linker = self.linker(linking).map_err(Error::Sandbox)?;
        linker
            .instantiate_pre(component)
            .map_err(|error| Problem::bad_component(format!("It cannot be linked: {error:#}")).into())
    }
}
