//! Prepares kernels: rewritten, compiled, and their first image made, once, into the artifact cache.
//!
//! Runs in a process of its own before the worker starts, so that the worker never compiles and never writes to the
//! cache. Everything is made under a key of its content, so that a second start finds it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wasmtime::Engine;

use super::manifest::{Manifest, file_digests, files, hex};
use super::{birth, rewrite};
use crate::artifact::{ArtifactCache, engine_key};
use crate::engine::kernel_engine;
use crate::error::KernelError;

/// Change whenever the rewrite, or the making of images, does, so that what an older build made is not used.
const REWRITE: &str = "2";
const RECIPE: &str = "2";

/// What is known of a prepared kernel, beside its code and its image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Prepared {
    /// Of the image's bytes: what suspended sessions name.
    pub image_digest: String,
    /// The memory's minimum: how the engine tells it from other memories.
    pub memory_pages: u64,
}

/// Where a kernel's artifacts are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Keys {
    pub code: String,
    pub image: String,
}

impl Keys {
    /// The keys of the kernel in `folder`, for this engine: the code's by the module alone, the image's by everything.
    pub fn of(folder: &Path, manifest: &Manifest, engine: &Engine) -> Result<Self, KernelError> {
        let digests = file_digests(folder)?;
        let module = digests.get(&manifest.module.path).ok_or_else(|| KernelError::Manifest {
            path: folder.join("kernel.toml"),
            reason: format!("there is no {}", manifest.module.path.display()),
        })?;
        let exports = format!("{:?}", manifest.module.exports);
        let all = digests.iter().map(|(path, digest)| format!("{} {digest}", path.display())).collect::<Vec<_>>();
        let key = |parts: &[&str]| hex(Sha256::digest(parts.join("\n")).get(..20).unwrap_or_default());
        Ok(Self {
            code: key(&["code", REWRITE, module, &exports, &engine_key(engine)]),
            image: key(&["image", RECIPE, env!("CARGO_PKG_VERSION"), &all.join("\n")]),
        })
    }
}

impl Keys {
    /// Names a folder by its files' names, sizes, times and inodes: the same for as long as nobody changes them.
    fn fingerprint(folder: &Path, engine: &Engine) -> Result<String, KernelError> {
        let mut hash = Sha256::new();
        for path in files(folder)? {
            let about = fs::metadata(&path).map_err(|e| KernelError::io(&path, e))?;
            let line =
                format!("{} {} {} {} {}", path.display(), about.len(), about.mtime(), about.mtime_nsec(), about.ino());
            hash.update(line);
        }
        hash.update(engine_key(engine));
        hash.update([REWRITE, RECIPE, env!("CARGO_PKG_VERSION")].join(" "));
        Ok(hex(hash.finalize().get(..20).unwrap_or_default()))
    }

    /// The keys as they were found when the kernel was prepared, if its files are still those: reading all of them again
    /// would be most of a start.
    fn known(folder: &Path, engine: &Engine, cache: &ArtifactCache) -> Result<Option<Self>, KernelError> {
        let path = cache.path(&Self::fingerprint(folder, engine)?, "keys");
        Ok(fs::read(path).ok().and_then(|json| serde_json::from_slice(&json).ok()))
    }

    /// The keys, read from the files only where they are not known.
    pub fn remembered(
        folder: &Path,
        manifest: &Manifest,
        engine: &Engine,
        cache: &ArtifactCache,
    ) -> Result<Self, KernelError> {
        match Self::known(folder, engine, cache)? {
            Some(keys) => Ok(keys),
            None => Self::of(folder, manifest, engine),
        }
    }

    fn remember(&self, folder: &Path, engine: &Engine, cache: &ArtifactCache) -> Result<(), KernelError> {
        let json = serde_json::to_vec(self).map_err(|e| KernelError::Image(e.to_string()))?;
        cache.store(&Self::fingerprint(folder, engine)?, "keys", |file| file.write_all(&json))
    }
}

/// Whether everything that a worker needs of the kernel is in the cache.
pub fn is_prepared(cache: &ArtifactCache, keys: &Keys) -> bool {
    cache.path(&keys.code, "code").is_file()
        && cache.path(&keys.image, "image").is_file()
        && cache.path(&keys.image, "json").is_file()
}

/// Whether what is there is whole: an image that is not what its digest says, or code that the engine refuses, is made
/// again.
fn is_sound(engine: &Engine, cache: &ArtifactCache, keys: &Keys) -> bool {
    let prepared: Option<Prepared> =
        fs::read(cache.path(&keys.image, "json")).ok().and_then(|json| serde_json::from_slice(&json).ok());
    let image = File::open(cache.path(&keys.image, "image")).and_then(|mut file| {
        let mut hash = Sha256::new();
        std::io::copy(&mut file, &mut hash)?;
        Ok(hex(&hash.finalize()))
    });
    let sound = prepared.zip(image.ok()).is_some_and(|(prepared, image)| prepared.image_digest == image);
    if !sound {
        cache.remove(&keys.image, "json");
    }
    let loads = cache.load(engine, &keys.code).is_ok();
    if !loads {
        cache.remove(&keys.code, "code");
    }
    sound && loads
}

/// Prepares every kernel below `kernels`, telling `progress` what is being done and how long it has taken.
pub fn prepare(kernels: &Path, cache: &Path, progress: &mut dyn FnMut(String)) -> Result<(), KernelError> {
    let engine = kernel_engine()?;
    let cache = ArtifactCache::open(cache)?;
    cache.tidy();
    for folder in Manifest::folders(kernels)? {
        let manifest = Manifest::read(&folder)?;
        let known = Keys::known(&folder, &engine, &cache)?;
        if known.is_some_and(|keys| is_prepared(&cache, &keys) && is_sound(&engine, &cache, &keys)) {
            continue;
        }
        let keys = Keys::of(&folder, &manifest, &engine)?;
        if !is_prepared(&cache, &keys) || !is_sound(&engine, &cache, &keys) {
            prepare_one(&engine, &cache, &folder, &manifest, &keys, progress)?;
        }
        keys.remember(&folder, &engine, &cache)?;
    }
    Ok(())
}

fn prepare_one(
    engine: &Engine,
    cache: &ArtifactCache,
    folder: &Path,
    manifest: &Manifest,
    keys: &Keys,
    progress: &mut dyn FnMut(String),
) -> Result<(), KernelError> {
    let label = format!("{} {}", manifest.name, manifest.version);
    let path = folder.join(&manifest.module.path);
    let module = fs::read(&path).map_err(|e| KernelError::io(&path, e))?;
    let rewritten = rewrite::rewrite(&module, &manifest.module.exports)?;
    drop(module);
    if !cache.path(&keys.code, "code").is_file() {
        let size = rewritten.component.len() as f64 / 1e6;
        let about = format!("{label}: compiling {size:.1} MB of WebAssembly, once");
        let code = with_elapsed(&about, progress, || engine.precompile_component(&rewritten.component))??;
        cache.store(&keys.code, "code", |file| file.write_all(&code))?;
    }
    let about = format!("{label}: making the interpreter's memory image");
    let component = cache.load(engine, &keys.code)?;
    let image =
        with_elapsed(&about, progress, || birth::first_image(engine, &component, folder, manifest, &rewritten))??;
    let prepared = Prepared { image_digest: hex(&Sha256::digest(&image)), memory_pages: rewritten.memory_pages };
    cache.store(&keys.image, "image", |file| write_sparse(file, &image))?;
    let json = serde_json::to_vec(&prepared).map_err(|e| KernelError::Image(e.to_string()))?;
    cache.store(&keys.image, "json", |file| file.write_all(&json))?;
    progress(format!("{label}: ready, image of {} MiB", image.len() >> 20));
    Ok(())
}

/// Leaves holes where the memory is zero.
fn write_sparse(file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt;
    file.set_len(bytes.len() as u64)?;
    for (i, page) in bytes.chunks(4096).enumerate() {
        if page.iter().any(|b| *b != 0) {
            file.write_all_at(page, i as u64 * 4096)?;
        }
    }
    Ok(())
}

/// Does long work on a thread of its own and says every few seconds that it still goes on.
fn with_elapsed<T: Send>(
    about: &str,
    progress: &mut dyn FnMut(String),
    work: impl FnOnce() -> T + Send,
) -> Result<T, KernelError> {
    progress(format!("{about} ..."));
    let start = Instant::now();
    thread::scope(|scope| {
        let (done, wait) = mpsc::channel::<()>();
        // The interpreter's start runs in the guest's stack, which lives on this one.
        let worker = thread::Builder::new().stack_size(64 << 20).spawn_scoped(scope, move || {
            let result = work();
            drop(done);
            result
        });
        let worker = worker.map_err(|e| KernelError::Image(e.to_string()))?;
        while let Err(mpsc::RecvTimeoutError::Timeout) = wait.recv_timeout(Duration::from_secs(10)) {
            progress(format!("{about} ... {} s", start.elapsed().as_secs()));
        }
        worker.join().map_err(|_| KernelError::Image("the work panicked".to_owned()))
    })
}
