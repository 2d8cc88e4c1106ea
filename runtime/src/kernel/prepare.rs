//! Prepares kernels: rewrites, compiles and makes the first image, once, into the artifact cache.
//!
//! Runs in its own process before the worker starts, so that the worker never compiles and never writes to the cache.
//! Keys cover the content, so a second start finds everything.

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

use super::manifest::{Manifest, file_digests, files};
use super::{birth, rewrite};
use crate::artifact::{ArtifactCache, engine_key};
use crate::engine::kernel_engine;
use crate::error::KernelError;

/// Change this with the rewrite or the making of images, so that results of older builds are not used.
const REWRITE: &str = "2";
const RECIPE: &str = "2";

/// A prepared kernel's metadata, besides its code and its image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Prepared {
    /// The digest of the image's bytes. Suspended sessions refer to it.
    pub image_digest: String,
    /// The memory's minimum, by which the engine recognizes it among other memories.
    pub memory_pages: u64,
}

/// The cache keys of a kernel's artifacts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Keys {
    pub code: String,
    pub image: String,
}

impl Keys {
    /// The keys of the kernel in `folder` for this engine. The code's key covers only the module, the image's key
    /// everything.
    pub fn of(folder: &Path, manifest: &Manifest, engine: &Engine) -> Result<Self, KernelError> {
        let digests = file_digests(folder)?;
        let module = digests.get(&manifest.module.path).ok_or_else(|| KernelError::Manifest {
            path: folder.join("kernel.toml"),
            reason: format!("there is no {}", manifest.module.path.display()),
        })?;
        let exports = format!("{:?}", manifest.module.exports);
        let all = digests.iter().map(|(path, digest)| format!("{} {digest}", path.display())).collect::<Vec<_>>();
        let key = |parts: &[&str]| hex::encode(Sha256::digest(parts.join("\n")).get(..20).unwrap_or_default());
        Ok(Self {
            code: key(&["code", REWRITE, module, &exports, &engine_key(engine)]),
            image: key(&["image", RECIPE, env!("CARGO_PKG_VERSION"), &all.join("\n")]),
        })
    }
}

impl Keys {
    /// Identifies a folder by its files' names, sizes, times and inodes, which change when the files do.
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
        Ok(hex::encode(hash.finalize().get(..20).unwrap_or_default()))
    }

    /// The keys recorded when the kernel was prepared, if its files are unchanged. Reading all files again would take
    /// most of the start.
    fn known(folder: &Path, engine: &Engine, cache: &ArtifactCache) -> Result<Option<Self>, KernelError> {
        let path = cache.path(&Self::fingerprint(folder, engine)?, "keys");
        Ok(fs::read(path).ok().and_then(|json| serde_json::from_slice(&json).ok()))
    }

    /// The recorded keys. Reads the files only if there are none.
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

/// True if the cache has everything that a worker needs of the kernel.
pub fn is_prepared(cache: &ArtifactCache, keys: &Keys) -> bool {
    cache.path(&keys.code, "code").is_file()
        && cache.path(&keys.image, "image").is_file()
        && cache.path(&keys.image, "json").is_file()
}

/// True if the cached artifacts are intact. Damaged images, and code that the engine rejects, are rebuilt.
fn is_sound(engine: &Engine, cache: &ArtifactCache, keys: &Keys) -> bool {
    let prepared: Option<Prepared> =
        fs::read(cache.path(&keys.image, "json")).ok().and_then(|json| serde_json::from_slice(&json).ok());
    let image = File::open(cache.path(&keys.image, "image")).and_then(|mut file| {
        let mut hash = Sha256::new();
        std::io::copy(&mut file, &mut hash)?;
        Ok(hex::encode(hash.finalize()))
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

/// Prepares every kernel below `kernels`, and reports steps and elapsed time to `progress`.
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
    let prepared = Prepared { image_digest: hex::encode(Sha256::digest(&image)), memory_pages: rewritten.memory_pages };
    cache.store(&keys.image, "image", |file| write_sparse(file, &image))?;
    let json = serde_json::to_vec(&prepared).map_err(|e| KernelError::Image(e.to_string()))?;
    cache.store(&keys.image, "json", |file| file.write_all(&json))?;
    progress(format!("{label}: ready, image of {} MiB", image.len() >> 20));
    Ok(())
}

/// Writes a file with holes where the memory is zero.
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

/// Runs long work on its own thread and reports the elapsed time every few seconds.
fn with_elapsed<T: Send>(
    about: &str,
    progress: &mut dyn FnMut(String),
    work: impl FnOnce() -> T + Send,
) -> Result<T, KernelError> {
    progress(format!("{about} ..."));
    let start = Instant::now();
    thread::scope(|scope| {
        let (done, wait) = mpsc::channel::<()>();
        // The interpreter starts on this thread's stack, which must hold the guest's stack.
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
