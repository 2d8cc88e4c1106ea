//! Describes and compiles one component into the artifact cache. Runs in its own process, which confines itself before
//! it reads a byte: it can write to the component's folder of the cache and do nothing else. Never runs what it
//! compiles.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;

use cofferdam_contract::tool::MAX_COMPONENT_BYTES;
use cofferdam_contract::{Component, Problem};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wasmtime::Engine;

use super::describe::{Refusal, describe};
use super::weight::instance_weight;
use crate::artifact::{ArtifactCache, component_key, engine_key};
use crate::confine::{Allowance, Confinement, Profile, bound, confine, own_user};
use crate::engine::tool_engine;
use crate::error::Error;
use crate::sums;

/// Change this when descriptions change, so that results of older builds are rebuilt.
const DESCRIPTION: &str = "component-4";
/// The most bytes of compiled components to keep.
const KEPT_BYTES: u64 = 8 << 30;
/// The memory for compiling: a base, plus this many bytes per byte of the component.
const COMPILE_MEMORY: (u64, u64) = (512 << 20, 96);
const CPU_S: u64 = 30;
const BYTES_PER_CPU_S: u64 = 64 << 10;
/// Types may be nested, and their readers recurse.
const STACK: usize = 64 << 20;

/// A component to compile, and the cache for the result.
#[derive(Debug, Clone)]
pub struct Job {
    pub cache_dir: PathBuf,
    /// `sha256:` and 64 hex digits.
    pub digest: String,
    /// Confines the process. Off only in tests, which share theirs.
    pub confine: bool,
}

/// Reads the component and returns its description. Its code is in the cache by then. The process must have one thread.
///
/// # Errors
/// The component is broken or cannot be a tool, or we failed.
pub fn compile(job: &Job, component: &mut dyn Read) -> Result<Component, Error> {
    let engine = tool_engine().map_err(Error::Sandbox)?;
    let key = component_key(&engine_key(&engine), &job.digest);
    let key = key.ok_or_else(|| Problem::invalid("A digest is `sha256:` and 64 lower-case hex digits."))?;
    let mut cache = ArtifactCache::open(&job.cache_dir)?;
    if job.confine {
        cache = ArtifactCache::open(&cache.for_own_user()?)?;
    }
    let folder = cache.component_folder(&key)?;
    if let Err(error) = cache.trim_components(KEPT_BYTES) {
        tracing::warn!(%error, "the cache of components could not be trimmed");
    }
    if job.confine {
        // Calls in progress have priority.
        let _ = rustix::process::nice(5);
        own_user::give(&folder).map_err(Error::io("the component's folder"))?;
        confine_to(&folder)?;
    }
    let bytes = read(component, &job.digest)?;
    if job.confine {
        let size = bytes.len() as u64;
        bound(Allowance {
            memory_bytes: COMPILE_MEMORY.0 + size * COMPILE_MEMORY.1,
            cpu_s: CPU_S + size / BYTES_PER_CPU_S,
            file_bytes: COMPILE_MEMORY.0 + size * COMPILE_MEMORY.1,
        })?;
    }
    if let Some(known) = known(&cache, &key) {
        return Ok(known);
    }
    let work = || make(&engine, &cache, &key, &job.digest, &bytes);
    thread::scope(|scope| {
        let worker = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        // A panic is the component's fault, and would happen again.
        worker.map_err(Error::io("the compiler's thread"))?.join().unwrap_or_else(|_| {
            Err(Refusal::Invalid("the compiler cannot handle it within its memory limit".to_owned()).into())
        })
    })
}

fn confine_to(folder: &Path) -> Result<(), Error> {
    // The standard library reads the number of usable threads there.
    let readable = [PathBuf::from("/sys/fs/cgroup"), PathBuf::from("/sys/devices/system/cpu")];
    let Confinement { landlock, seccomp, user } = confine(Profile::Compile, &readable, Some(folder))?;
    tracing::debug!(landlock, seccomp, user, "the compiler is confined");
    Ok(())
}

fn read(component: &mut dyn Read, digest: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let most = MAX_COMPONENT_BYTES as u64 + 1;
    component.take(most).read_to_end(&mut bytes).map_err(Error::io("reading the component"))?;
    if bytes.len() > MAX_COMPONENT_BYTES {
        return Err(Refusal::TooLarge(bytes.len()).into());
    }
    if digest.strip_prefix("sha256:") != Some(hex::encode(Sha256::digest(&bytes)).as_str()) {
        return Err(Problem::invalid(format!("The component's bytes are not those of {digest}.")).into());
    }
    Ok(bytes)
}

/// The metadata beside a component's code.
#[derive(Serialize, Deserialize)]
struct Made {
    /// The checksum of the code, so that code damaged by a crash or a disk is recompiled.
    code_sum: u32,
    /// Host memory of an instance, besides memories and tables.
    instance_bytes: u64,
    component: Component,
}

/// The fields of it that a tool worker needs, read without parsing the rest.
#[derive(Deserialize)]
pub(crate) struct Weight {
    code_sum: u32,
    instance_bytes: usize,
}

impl Weight {
    /// That of a cached component. `None` if there is none, or if it is damaged.
    pub(crate) fn of(cache: &ArtifactCache, key: &str) -> Option<Self> {
        serde_json::from_slice(&cache.sealed(key, DESCRIPTION).ok()?).ok()
    }

    /// Host memory of an instance besides memories and tables.
    pub(crate) fn instance_bytes(&self) -> usize {
        self.instance_bytes
    }

    /// Compares the component's code with its checksum.
    ///
    /// # Errors
    /// `InvalidData` if the code is damaged.
    pub(crate) fn check(&self, code: &fs::File) -> io::Result<()> {
        sums::check_file(code, self.code_sum)
    }
}

/// An earlier process's result, if it is complete and intact. A damaged one is deleted.
fn known(cache: &ArtifactCache, key: &str) -> Option<Component> {
    let path = cache.path(key, DESCRIPTION);
    let read = || -> io::Result<(Vec<u8>, Made)> {
        let json = cache.sealed(key, DESCRIPTION)?;
        let made: Made = serde_json::from_slice(&json)?;
        sums::check_file(&fs::File::open(cache.path(key, "code"))?, made.code_sum)?;
        Ok((json, made))
    };
    let (json, made) = read()
        .inspect_err(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, path = %path.display(), "a compiled component is deleted and compiled again");
            }
            cache.remove(key, DESCRIPTION);
            cache.remove(key, "code");
        })
        .ok()?;
    // Rewriting it marks it as recently used.
    cache.store_sealed(key, DESCRIPTION, json).ok()?;
    Some(made.component)
}

fn make(engine: &Engine, cache: &ArtifactCache, key: &str, digest: &str, bytes: &[u8]) -> Result<Component, Error> {
    let component = describe(bytes, digest)?;
    let instance_bytes = instance_weight(bytes)?;
    let code = engine.precompile_component(bytes).map_err(|e| Refusal::Invalid(format!("{e:#}")))?;
    cache.store(key, "code", |file| file.write_all(&code))?;
    let made = Made { code_sum: crc32fast::hash(&code), instance_bytes, component };
    let json = serde_json::to_vec(&made).map_err(|e| Error::Io { context: "JSON", source: e.into() })?;
    // Written last: if it exists, so does the rest.
    cache.store_sealed(key, DESCRIPTION, json)?;
    Ok(made.component)
}
