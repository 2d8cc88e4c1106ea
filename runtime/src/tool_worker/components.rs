//! Loaded components: read from the artifact cache by digest, linked for their grants, least recently used ones
//! evicted. Never compiles and never writes to the cache.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use cofferdam_contract::{ExportPath, Problem};
use cofferdam_host_api::Capabilities;
use parking_lot::Mutex;
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use super::linkers::Linkers;
use super::state::ToolState;
use crate::artifact::{ArtifactCache, component_key, engine_key};
use crate::error::{Error, KernelError};
use crate::files;
use crate::tool::Signature;
use crate::tool::compile::Weight;

/// A function of a component, ready to be called.
pub(super) struct Function {
    pub(super) index: ComponentExportIndex,
    pub(super) signature: Signature,
    pub(super) results: usize,
    /// True if its result contains lists.
    pub(super) lists: bool,
}

/// A component that can be instantiated at once.
pub(super) struct Loaded {
    pub(super) component: Component,
    pub(super) pre: InstancePre<ToolState>,
    /// Host memory of an instance, besides memories and tables.
    pub(super) instance_bytes: usize,
    /// Functions that were called. Their number is bounded by the component's size.
    functions: Mutex<HashMap<ExportPath, Arc<Function>>>,
}

impl Loaded {
    pub(super) fn function(&self, path: &ExportPath) -> Result<Arc<Function>, Problem> {
        if let Some(found) = self.functions.lock().get(path) {
            return Ok(Arc::clone(found));
        }
        let gone = || Problem::not_found("The component has no such function.");
        let interface = match &path.interface {
            Some(name) => Some(self.component.get_export_index(None, name).ok_or_else(gone)?),
            None => None,
        };
        let Some((ComponentItem::ComponentFunc(about), index)) =
            self.component.get_export(interface.as_ref(), &path.function)
        else {
            return Err(gone());
        };
        let signature = Signature::of(&about)
            .map_err(|unfit| Problem::not_found(format!("The function cannot be called as a tool: {unfit}.")))?;
        let lists = signature.returns_lists();
        let function = Arc::new(Function { index, signature, results: about.results().len(), lists });
        self.functions.lock().insert(path.clone(), Arc::clone(&function));
        Ok(function)
    }
}

/// The same component is linked differently for other grants.
type Key = (String, Capabilities);

/// The slot for one component. The loading thread holds its lock, and others wait for it.
#[derive(Default)]
struct LoadSlot {
    loaded: Mutex<Option<Arc<Loaded>>>,
}

struct Entry {
    slot: Arc<LoadSlot>,
    bytes: u64,
    used: u64,
}

#[derive(Default)]
struct Kept {
    entries: HashMap<Key, Entry>,
    /// Counts uses. The most recently used has the highest number.
    clock: u64,
}

pub(super) struct Components {
    engine: Engine,
    engine_key: String,
    cache: ArtifactCache,
    linkers: Linkers,
    kept: Mutex<Kept>,
    most: usize,
    most_bytes: u64,
}

impl Components {
    /// Call it before the process is confined, because CPU features cannot be read afterwards.
    pub(super) fn new(engine: Engine, cache: ArtifactCache, most: usize, most_bytes: u64) -> Self {
        let linkers = Linkers::new(&engine);
        let engine_key = engine_key(&engine);
        Self { engine, engine_key, cache, linkers, kept: Mutex::default(), most: most.max(1), most_bytes }
    }

    pub(super) fn count(&self) -> usize {
        self.kept.lock().entries.len()
    }

    /// Total bytes of compiled code.
    pub(super) fn bytes(&self) -> u64 {
        self.kept.lock().entries.values().map(|entry| entry.bytes).sum()
    }

    /// The component. Loads it on this thread if needed.
    pub(super) fn get(&self, digest: &str, capabilities: Capabilities) -> Result<Arc<Loaded>, Error> {
        let key = (digest.to_owned(), capabilities);
        let slot = self.slot(&key);
        let mut loaded = slot.loaded.lock();
        if let Some(loaded) = &*loaded {
            return Ok(Arc::clone(loaded));
        }
        let result = self.load(digest, capabilities);
        match &result {
            Ok((fresh, bytes)) => {
                *loaded = Some(Arc::clone(fresh));
                self.weigh(&key, *bytes);
            }
            Err(_) => self.forget(&key, &slot),
        }
        result.map(|(fresh, _)| fresh)
    }

    fn slot(&self, key: &Key) -> Arc<LoadSlot> {
        let mut kept = self.kept.lock();
        kept.clock += 1;
        let used = kept.clock;
        if let Some(entry) = kept.entries.get_mut(key) {
            entry.used = used;
            return Arc::clone(&entry.slot);
        }
        let slot = Arc::new(LoadSlot::default());
        // Evicts nothing for it before it is known to exist.
        kept.entries.insert(key.clone(), Entry { slot: Arc::clone(&slot), bytes: 0, used });
        slot
    }

    fn weigh(&self, key: &Key, bytes: u64) {
        let mut kept = self.kept.lock();
        if let Some(entry) = kept.entries.get_mut(key) {
            entry.bytes = bytes;
        }
        self.shrink(&mut kept);
    }

    fn forget(&self, key: &Key, slot: &Arc<LoadSlot>) {
        let mut kept = self.kept.lock();
        if kept.entries.get(key).is_some_and(|entry| Arc::ptr_eq(&entry.slot, slot)) {
            kept.entries.remove(key);
        }
    }

    /// Evicts the least recently used, but never the most recent one. Calls in progress keep theirs.
    fn shrink(&self, kept: &mut Kept) {
        let total = |kept: &Kept| kept.entries.values().map(|entry| entry.bytes).sum::<u64>();
        while kept.entries.len() > self.most || (kept.entries.len() > 1 && total(kept) > self.most_bytes) {
            let oldest = kept.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { return };
            kept.entries.remove(&oldest);
        }
    }

    fn load(&self, digest: &str, capabilities: Capabilities) -> Result<(Arc<Loaded>, u64), Error> {
        let missing = || Error::from(Problem::component_missing(format!("The worker has no component {digest}.")));
        let key = component_key(&self.engine_key, digest).ok_or_else(missing)?;
        let code = File::open(self.cache.path(&key, "code")).map_err(|_| missing())?;
        let weight = Weight::of(&self.cache, &key).ok_or_else(missing)?;
        let loaded = weight.check(&code).map_err(|source| {
            let path = self.cache.path(&key, "code");
            KernelError::Damaged { path, source }
        });
        let component = loaded.and_then(|()| self.cache.load(&self.engine, &key)).map_err(|error| {
            // It is requested and compiled again, as if it had never existed.
            tracing::warn!(digest, %error, "a compiled component cannot be used");
            missing()
        })?;
        let bytes = files::len(&code).map_err(Error::io("a compiled component"))?;
        let pre = self.linkers.link(&component, capabilities)?;
        Ok((
            Arc::new(Loaded { component, pre, instance_bytes: weight.instance_bytes(), functions: Mutex::default() }),
            bytes,
        ))
    }
}
