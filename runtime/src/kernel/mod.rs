//! Kernels: interpreters as components over memory images.
//!
//! A loaded kernel has its code, its image, its read-only files and its warm slots.

pub mod birth;
pub mod manifest;
pub mod mounts;
pub mod pool;
pub mod prepare;
pub mod rewrite;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use cofferdam_host_api::{Base, Budget, SystemClock};
use wasmtime::Engine;
use wasmtime::component::{ComponentExportIndex, InstancePre, Linker};

use crate::artifact::ArtifactCache;
use crate::error::KernelError;
use crate::guest::State;
use crate::memory::Image;
use manifest::Manifest;
use pool::SlotPool;
use prepare::{Keys, Prepared};

/// A loaded interpreter, ready to start guests.
pub struct Kernel {
    manifest: Manifest,
    engine: Engine,
    pre: InstancePre<State>,
    turn: ComponentExportIndex,
    memory_pages: u64,
    image: Arc<Image>,
    base: Arc<Base>,
    slots: SlotPool,
}

/// Links a kernel's imports: WASI over the sandbox's own files, and the door. Nothing else.
pub fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    cofferdam_host_api::add_to_linker(&mut linker)?;
    cofferdam_host_api::add_door_to_linker(&mut linker)?;
    Ok(linker)
}

impl Kernel {
    /// Loads a prepared kernel. `files` is the memory budget of all sandboxes' files; `slots` is the number of warm
    /// slots.
    pub fn load(
        engine: &Engine,
        cache: &ArtifactCache,
        folder: &Path,
        files: &Arc<Budget>,
        slots: usize,
    ) -> Result<Self, KernelError> {
        let manifest = Manifest::read(folder)?;
        let keys = Keys::remembered(folder, &manifest, engine, cache)?;
        let prepared = Prepared::read(cache, &keys)?;
        let component = cache.load(engine, &keys.code)?;
        let pre = linker(engine)?.instantiate_pre(&component)?;
        let turn = component.get_export_index(None, "turn");
        let turn = turn.ok_or_else(|| KernelError::Module("no export `turn`".to_owned()))?;
        let path = cache.path(&keys.image, "image");
        let image = Image::open(&path, prepared.image_digest).map_err(|e| KernelError::io(&path, e))?;
        let image = Arc::new(image);
        let mounts = mounts::open(folder, &manifest.mounts)?;
        let base = Base { mounts: Arc::new(mounts), budget: Arc::clone(files), clock: Arc::new(SystemClock) };
        Ok(Self {
            engine: engine.clone(),
            pre,
            turn,
            memory_pages: prepared.memory_pages,
            slots: SlotPool::new(Arc::clone(&image), slots),
            image,
            base: Arc::new(base),
            manifest,
        })
    }

    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    pub fn version(&self) -> &str {
        &self.manifest.version
    }

    /// The environment that runs start from.
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.manifest.env
    }

    /// The text of a turn for a JSON spec.
    pub fn turn_text(&self, spec: &str) -> String {
        turn_text(&self.manifest.image.turn, spec)
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn pre(&self) -> &InstancePre<State> {
        &self.pre
    }

    pub fn turn_export(&self) -> &ComponentExportIndex {
        &self.turn
    }

    pub fn memory_pages(&self) -> u64 {
        self.memory_pages
    }

    pub fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// The parts shared by the file systems of this kernel's sandboxes.
    pub fn base(&self) -> &Arc<Base> {
        &self.base
    }

    pub fn slots(&self) -> &SlotPool {
        &self.slots
    }
}

/// Replaces `$SPEC` by the spec as a string literal. JSON's literals are valid in Python and JavaScript.
pub(crate) fn turn_text(template: &str, spec: &str) -> String {
    let literal = serde_json::Value::from(spec).to_string();
    // JSON allows U+2028 and U+2029 unescaped; older JavaScript grammars end a line there.
    let literal = literal.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    template.replacen("$SPEC", &literal, 1)
}
