//! The components in memory: read from the artifact cache by digest, linked for what they are granted, the longest
//! unused ones let go. Never compiles and never writes to the cache.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cofferdam_contract::{ExportPath, Problem};
use cofferdam_host_api::Capabilities;
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use super::linkers::Linkers;
use super::state::ToolState;
use crate::artifact::{ArtifactCache, component_key, engine_key};
use crate::error::Error;
use crate::tool::Signature;
use crate::tool::compile::instance_bytes;

/// A function of a component, ready to be called.
pub(super) struct Function {
    pub(super) index: ComponentExportIndex,
    pub(super) signature: Signature,
    pub(super) results: usize,
    /// Whether what it returns has lists in it.
    pub(super) lists: bool,
}

/// A component that can be instantiated at once.
pub(super) struct Loaded {
    pub(super) component: Component,
    pub(super) pre: InstancePre<ToolState>,
    /// What an instance of it takes beside memories and tables.
    pub(super) instance_bytes: usize,
    /// Those that were called: what a component exports is bounded by its size.
    functions: Mutex<HashMap<ExportPath, Arc<Function>>>,
}

impl Loaded {
    pub(super) fn function(&self, path: &ExportPath) -> Result<Arc<Function>, Problem> {
        if let Some(found) = lock(&self.functions).get(path) {
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
        lock(&self.functions).insert(path.clone(), Arc::clone(&function));
        Ok(function)
    }
}

/// What it is kept under: the same component with other grants is linked to other functions.
type Key = (String, Capabilities);

/// A place for one component. Whoever loads it holds its lock, and the others wait for that.
#[derive(Default)]
struct Slot {
    loaded: Mutex<Option<Arc<Loaded>>>,
}

struct Entry {
    slot: Arc<Slot>,
    bytes: u64,
    used: u64,
}

#[derive(Default)]
struct Kept {
    entries: HashMap<Key, Entry>,
    /// Counts uses: what was used last has the highest.
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Components {
    /// Has to be called before the process is confined: what names the CPU cannot be read afterwards.
    pub(super) fn new(engine: Engine, cache: ArtifactCache, most: usize, most_bytes: u64) -> Self {
        let linkers = Linkers::new(&engine);
        let engine_key = engine_key(&engine);
        Self { engine, engine_key, cache, linkers, kept: Mutex::default(), most: most.max(1), most_bytes }
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.kept).entries.len()
    }

    /// Compiled code of all that is kept, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        lock(&self.kept).entries.values().map(|entry| entry.bytes).sum()
    }

    /// The component, loaded on this thread where it is not here yet.
    pub(super) fn get(&self, digest: &str, capabilities: Capabilities) -> Result<Arc<Loaded>, Error> {
        let key = (digest.to_owned(), capabilities);
        let slot = self.slot(&key);
        let mut loaded = lock(&slot.loaded);
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

    fn slot(&self, key: &Key) -> Arc<Slot> {
        let mut kept = lock(&self.kept);
        kept.clock += 1;
        let used = kept.clock;
        if let Some(entry) = kept.entries.get_mut(key) {
            entry.used = used;
            return Arc::clone(&entry.slot);
        }
        let slot = Arc::new(Slot::default());
        // Nothing goes for it before it is known to be there.
        kept.entries.insert(key.clone(), Entry { slot: Arc::clone(&slot), bytes: 0, used });
        slot
    }

    fn weigh(&self, key: &Key, bytes: u64) {
        let mut kept = lock(&self.kept);
        if let Some(entry) = kept.entries.get_mut(key) {
            entry.bytes = bytes;
        }
        self.shrink(&mut kept);
    }

    fn forget(&self, key: &Key, slot: &Arc<Slot>) {
        let mut kept = lock(&self.kept);
        if kept.entries.get(key).is_some_and(|entry| Arc::ptr_eq(&entry.slot, slot)) {
            kept.entries.remove(key);
        }
    }

    /// Lets go of the longest unused ones, but never of the last one used. Calls under way keep theirs.
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
        let bytes = size(&self.cache.path(&key, "code")).ok_or_else(missing)?;
        let instance_bytes = instance_bytes(&self.cache, &key).ok_or_else(missing)?;
        let component = self.cache.load(&self.engine, &key).map_err(|error| {
            // It is asked for again, and compiled again, as if it had never been there.
            tracing::warn!(digest, %error, "a compiled component cannot be used");
            missing()
        })?;
        let pre = self.linkers.link(&component, capabilities)?;
        Ok((Arc::new(Loaded { component, pre, instance_bytes, functions: Mutex::default() }), bytes))
    }
}

fn size(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|about| about.len())
}
