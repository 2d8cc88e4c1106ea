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
const RECIPE: &str = "3";

/// A prepared kernel's metadata, besides its code and its image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Prepared {
    /// The digest of the image's bytes. Suspended sessions refer to it.
    pub image_digest: String,
    /// The memory's minimum, by which the engine recognizes it among other memories.
    pub memory_pages: u64,
}

impl Prepared {
    pub(super) fn read(cache: &ArtifactCache, keys: &Keys) -> Result<Self, KernelError> {
        let path = cache.path(&keys.image, "json");
        let json = cache.sealed(&keys.image, "json");
        let read = json.and_then(|json| Ok(serde_json::from_slice(&json)?));
        read.map_err(|source| KernelError::Damaged { path, source })
    }
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
        let json = cache.sealed(&Self::fingerprint(folder, engine)?, "keys").ok();
        Ok(json.and_then(|json| serde_json::from_slice(&json).ok()))
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
        cache.store_sealed(&Self::fingerprint(folder, engine)?, "keys", json)
    }
}

/// True if the cache has everything that a worker needs of the kernel.
pub fn is_prepared(cache: &ArtifactCache, keys: &Keys) -> bool {
    cache.path(&keys.code, "code").is_file()
        && cache.path(&keys.image, "image").is_file()
        && cache.path(&keys.image, "json").is_file()
}

/// Removes and logs a damaged artifact. True if it was none.
fn keeps(cache: &ArtifactCache, key: &str, kind: &str, checked: Result<(), KernelError>) -> bool {
    if let Err(error) = &checked {
        tracing::warn!(%error, "an artifact of the cache is deleted and made again");
        cache.remove(key, kind);
    }
    checked.is_ok()
}

/// True if there is code, and it is intact. Damaged code, and code that the engine rejects, is removed.
fn code_is_sound(engine: &Engine, cache: &ArtifactCache, keys: &Keys) -> bool {
    if !cache.path(&keys.code, "code").is_file() {
        return false;
    }
    let loads = || cache.load(engine, &keys.code).map(|_| ());
    let checked = if cache.has_sum(&keys.code, "code") {
        cache.check(&keys.code, "code").and_then(|()| loads())
    } else {
        // Code of versions that wrote no checksum gets one: compiling it again takes minutes.
        loads().and_then(|()| cache.store_sum(&keys.code, "code"))
    };
    keeps(cache, &keys.code, "code", checked)
}

/// True if the cached artifacts are intact. Damaged ones are removed.
fn is_sound(engine: &Engine, cache: &ArtifactCache, keys: &Keys) -> bool {
    let about = Prepared::read(cache, keys).map(|_| ());
    let image = cache.check(&keys.image, "image");
    let sound = [
        keeps(cache, &keys.image, "json", about),
        keeps(cache, &keys.image, "image", image),
        code_is_sound(engine, cache, keys),
    ];
    sound == [true; 3]
}

/// Compares the artifacts of a kernel with their checksums. Reads all of them, so a worker does it only after one that
/// died: `prepare` does it before every first start.
///
/// # Errors
/// [`KernelError::Damaged`] names the artifact.
pub fn check(engine: &Engine, cache: &ArtifactCache, folder: &Path) -> Result<(), KernelError> {
    let keys = Keys::remembered(folder, &Manifest::read(folder)?, engine, cache)?;
    cache.check(&keys.image, "image")?;
    cache.check(&keys.code, "code")
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
    if !code_is_sound(engine, cache, keys) {
        let size = rewritten.component.len() as f64 / 1e6;
        let about = format!("{label}: compiling {size:.1} MB of WebAssembly, once");
        let code = with_elapsed(&about, progress, || engine.precompile_component(&rewritten.component))??;
        cache.store_summed(&keys.code, "code", |file| file.write_all(&code))?;
    }
    let about = format!("{label}: making the interpreter's memory image");
    let component = cache.load(engine, &keys.code)?;
    let image =
        with_elapsed(&about, progress, || birth::first_image(engine, &component, folder, manifest, &rewritten))??;
    let prepared = Prepared { image_digest: hex::encode(Sha256::digest(&image)), memory_pages: rewritten.memory_pages };
    cache.store_summed(&keys.image, "image", |file| write_sparse(file, &image))?;
    let json = serde_json::to_vec(&prepared).map_err(|e| KernelError::Image(e.to_string()))?;
    cache.store_sealed(&keys.image, "json", json)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Artifacts of a kernel that is an empty component.
    fn prepared(cache: &ArtifactCache, engine: &Engine, keys: &Keys) {
        let code = engine.precompile_component(&wat::parse_str("(component)").unwrap()).unwrap();
        cache.store_summed(&keys.code, "code", |file| file.write_all(&code)).unwrap();
        cache.store_summed(&keys.image, "image", |file| write_sparse(file, &[0; 1 << 20])).unwrap();
        let about = Prepared { image_digest: "digest".to_owned(), memory_pages: 16 };
        cache.store_sealed(&keys.image, "json", serde_json::to_vec(&about).unwrap()).unwrap();
    }

    #[test]
    fn an_artifact_with_a_flipped_bit_is_removed_and_so_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ArtifactCache::open(&folder.path().join("cache")).unwrap();
        let engine = kernel_engine().unwrap();
        let keys = Keys { code: "of-code".to_owned(), image: "of-image".to_owned() };
        prepared(&cache, &engine, &keys);
        cache.remove(&keys.code, "code.sum");
        assert!(is_sound(&engine, &cache, &keys), "code of an earlier version");
        for (key, kind, removed) in [
            (&keys.code, "code", "code"),
            (&keys.code, "code.sum", "code"),
            (&keys.image, "image", "image"),
            (&keys.image, "image.sum", "image"),
            (&keys.image, "json", "json"),
        ] {
            prepared(&cache, &engine, &keys);
            assert!(is_prepared(&cache, &keys) && is_sound(&engine, &cache, &keys));
            let path = cache.path(key, kind);
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x40;
            fs::write(&path, bytes).unwrap();
            assert!(!is_sound(&engine, &cache, &keys), "{kind}");
            assert!(!cache.path(key, removed).exists() && !is_prepared(&cache, &keys), "{kind}");
        }
    }
}
