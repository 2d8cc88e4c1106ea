//! Describes and compiles one component into the artifact cache. Runs in a process of its own, which confines itself
//! before it looks at a byte: it can write into the component's folder of the cache and do nothing else. Never runs what
//! it compiles.

use std::fs;
use std::io::{Read, Write};
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
use crate::confine::{Allowance, Profile, bound, confine};
use crate::engine::tool_engine;
use crate::error::Error;
use crate::kernel::manifest::hex;

/// Change whenever descriptions do, so that what an older build wrote is made again.
const DESCRIPTION: &str = "component-3";
/// Compiled components that are kept, in bytes.
const KEPT_BYTES: u64 = 8 << 30;
/// What compiling may take: so much, and for each byte of the component so many more.
const MEMORY: (u64, u64) = (512 << 20, 96);
const CPU_S: u64 = 30;
const BYTES_PER_CPU_S: u64 = 64 << 10;
/// Types may be nested, and those who read them recurse.
const STACK: usize = 64 << 20;

/// What is to be compiled, and where to.
#[derive(Debug, Clone)]
pub struct Job {
    pub cache_dir: PathBuf,
    /// `sha256:` and 64 hex digits.
    pub digest: String,
    /// Confine the process. Off only in tests, which share theirs.
    pub confine: bool,
}

/// Reads the component and answers what it is; by then its code is in the cache. The process must have one thread.
///
/// # Errors
/// A component that is broken or can be no tool, and our own failures.
pub fn compile(job: &Job, component: &mut dyn Read) -> Result<Component, Error> {
    let engine = tool_engine().map_err(Error::Sandbox)?;
    let key = component_key(&engine_key(&engine), &job.digest);
    let key = key.ok_or_else(|| Problem::invalid("A digest is `sha256:` and 64 lower-case hex digits."))?;
    let cache = ArtifactCache::open(&job.cache_dir)?;
    let folder = cache.component_folder(&key)?;
    if let Err(error) = cache.trim_components(KEPT_BYTES) {
        tracing::warn!(%error, "the cache of components could not be trimmed");
    }
    if job.confine {
        // Calls under way come first.
        let _ = rustix::process::nice(5);
        confine_to(&folder)?;
    }
    let bytes = read(component, &job.digest)?;
    if job.confine {
        let size = bytes.len() as u64;
        bound(Allowance {
            memory_bytes: MEMORY.0 + size * MEMORY.1,
            cpu_s: CPU_S + size / BYTES_PER_CPU_S,
            file_bytes: MEMORY.0 + size * MEMORY.1,
        })?;
    }
    if let Some(known) = known(&cache, &key) {
        return Ok(known);
    }
    let work = || make(&engine, &cache, &key, &job.digest, &bytes);
    thread::scope(|scope| {
        let worker = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        // A panic in there is the component's doing, and would be again.
        worker.map_err(Error::io("the compiler's thread"))?.join().unwrap_or_else(|_| {
            Err(Refusal::Invalid("the compiler cannot handle it in the memory that it may take".to_owned()).into())
        })
    })
}

fn confine_to(folder: &Path) -> Result<(), Error> {
    // How many threads it may use is found there.
    let readable = [PathBuf::from("/sys/fs/cgroup"), PathBuf::from("/sys/devices/system/cpu")];
    let confinement = confine(Profile::Compile, &readable, Some(folder))?;
    tracing::debug!(landlock = confinement.landlock, seccomp = confinement.seccomp, "the compiler is confined");
    Ok(())
}

fn read(component: &mut dyn Read, digest: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let most = MAX_COMPONENT_BYTES as u64 + 1;
    component.take(most).read_to_end(&mut bytes).map_err(Error::io("reading the component"))?;
    if bytes.len() > MAX_COMPONENT_BYTES {
        return Err(Refusal::TooLarge(bytes.len()).into());
    }
    if digest.strip_prefix("sha256:") != Some(hex(&Sha256::digest(&bytes)).as_str()) {
        return Err(Problem::invalid(format!("The component's bytes are not those of {digest}.")).into());
    }
    Ok(bytes)
}

/// What is written beside a component's code.
#[derive(Serialize, Deserialize)]
struct Made {
    /// The SHA-256 of the code, so that what a crash or a disk has damaged is made again.
    code: String,
    /// What an instance takes beside memories and tables.
    instance_bytes: u64,
    component: Component,
}

/// What is written of it alone, without the rest being read.
#[derive(Deserialize)]
struct Weight {
    instance_bytes: u64,
}

/// What an instance of a component takes beside memories and tables, if the component is there.
pub(crate) fn instance_bytes(cache: &ArtifactCache, key: &str) -> Option<usize> {
    let json = fs::read(cache.path(key, DESCRIPTION)).ok()?;
    let Weight { instance_bytes } = serde_json::from_slice(&json).ok()?;
    usize::try_from(instance_bytes).ok()
}

/// What an earlier process made, if it is all there and whole.
fn known(cache: &ArtifactCache, key: &str) -> Option<Component> {
    let json = fs::read(cache.path(key, DESCRIPTION)).ok()?;
    let made: Made = serde_json::from_slice(&json).ok()?;
    let mut digest = Sha256::new();
    std::io::copy(&mut fs::File::open(cache.path(key, "code")).ok()?, &mut digest).ok()?;
    if hex(&digest.finalize()) != made.code {
        return None;
    }
    // Written again, it counts as used now.
    cache.store(key, DESCRIPTION, |file| file.write_all(&json)).ok()?;
    Some(made.component)
}

fn make(engine: &Engine, cache: &ArtifactCache, key: &str, digest: &str, bytes: &[u8]) -> Result<Component, Error> {
    let component = describe(bytes, digest)?;
    let instance_bytes = instance_weight(bytes)?;
    let code = engine.precompile_component(bytes).map_err(|e| Refusal::Invalid(format!("{e:#}")))?;
    cache.store(key, "code", |file| file.write_all(&code))?;
    let made = Made { code: hex(&Sha256::digest(&code)), instance_bytes, component };
    let json = serde_json::to_vec(&made).map_err(|e| Error::Io { context: "JSON", source: e.into() })?;
    // The last to be written: where it is, the rest is too.
    cache.store(key, DESCRIPTION, |file| file.write_all(&json))?;
    Ok(made.component)
}
