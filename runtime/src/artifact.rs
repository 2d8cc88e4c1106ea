//! The artifact cache: native code and images on disk, by content. The only place that deserializes native code.
//!
//! A key covers the digest of the compiled content, the engine's compatibility hash and the CPU, so code for another
//! build or machine is never loaded. The folder is private: 0700, or 0711 where workers have a user of their own. The
//! process that runs guests only reads it.
#![allow(unsafe_code)] // reason: deserializing native code is unsafe; this is the one place that may

use std::fs::{self, DirBuilder, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::confine::own_user;
use crate::error::KernelError;
use crate::sums;

/// The prefix of a file that is being written.
const TEMPORARY: &str = ".writing-";
/// A temporary file of this age has no writer any more.
const ABANDONED_AGE: Duration = Duration::from_secs(3_600);

/// A private folder of compiled code and images.
#[derive(Debug, Clone)]
pub struct ArtifactCache {
    folder: PathBuf,
}

/// Feeds an engine's compatibility hash to SHA-256, so that a key does not depend on a 64-bit hash.
struct Digester(Sha256);

impl Hasher for Digester {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

/// Identifies an engine's target: its settings, its version and this CPU.
pub fn engine_key(engine: &Engine) -> String {
    let mut digester = Digester(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut digester);
    digester.write(std::env::consts::ARCH.as_bytes());
    digester.write(cpu_features().as_bytes());
    hex::encode(digester.0.finalize().get(..16).unwrap_or_default())
}

/// The subfolder for tools' components.
const COMPONENTS: &str = "tools";

/// The key of a tool's component, from its digest (`sha256:` and 64 hex digits) and [`engine_key`]. `None` if the text
/// is not a digest.
pub fn component_key(engine_key: &str, digest: &str) -> Option<String> {
    let digits = digest.strip_prefix("sha256:")?;
    let lower = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let name = || hex::encode(Sha256::digest(["tool", digits, engine_key].join(" ")).get(..20).unwrap_or_default());
    // A folder per component, because the process that compiles it may write only there.
    (digits.len() == 64 && lower).then(|| format!("{COMPONENTS}/{}/component", name()))
}

/// The kind of the file with an artifact's checksum.
fn sum_kind(kind: &str) -> String {
    format!("{kind}.sum")
}

/// The CPU's feature flags as Linux lists them (x86: `flags`, Arm: `Features`).
fn cpu_features() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines().find(|line| line.starts_with("flags") || line.starts_with("Features")).unwrap_or_default().to_owned()
}

impl ArtifactCache {
    /// Opens a cache folder, and creates it if needed. Refuses a folder that belongs to another user or is writable by
    /// others: its contents run as this process.
    pub fn open(folder: &Path) -> Result<Self, KernelError> {
        let fail = |e| KernelError::io(folder, e);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fail)?;
        let about = fs::metadata(folder).map_err(fail)?;
        if about.uid() != rustix::process::geteuid().as_raw() || about.mode() & 0o022 != 0 {
            let reason = "the artifact cache belongs to another user or is writable by others";
            return Err(fail(io::Error::new(io::ErrorKind::PermissionDenied, reason)));
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// The path of an artifact, whether or not it exists.
    pub fn path(&self, key: &str, kind: &str) -> PathBuf {
        self.folder.join(format!("{key}.{kind}"))
    }

    /// Creates a component's private folder and returns its path.
    pub fn component_folder(&self, key: &str) -> Result<PathBuf, KernelError> {
        let path = self.path(key, "code");
        let folder = path.parent().unwrap_or(&self.folder);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| KernelError::io(folder, e))?;
        Ok(folder.to_owned())
    }

    /// Lets the own user of the processes that compile and run components reach them, and makes this folder the working folder
    /// if this process will be that user. Returns the folder's path from now on.
    pub(crate) fn for_own_user(&self) -> Result<PathBuf, KernelError> {
        let fail = |e| KernelError::io(&self.folder, e);
        let folder = own_user::work_in(&self.folder).map_err(fail)?;
        let components = folder.join(COMPONENTS);
        DirBuilder::new().recursive(true).mode(0o700).create(&components).map_err(fail)?;
        own_user::let_through(&folder).map_err(fail)?;
        own_user::let_through(&components).map_err(fail)?;
        Ok(folder)
    }

    /// Gives the own user the components that were compiled before it was there.
    pub(crate) fn give_components(&self) -> Result<(), KernelError> {
        let (components, fail) = (self.folder.join(COMPONENTS), |e| KernelError::io(&self.folder, e));
        for entry in fs::read_dir(&components).map_err(fail)? {
            match own_user::give(&entry.map_err(fail)?.path()) {
                // Trimmed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                given => given.map_err(fail)?,
            }
        }
        Ok(())
    }

    /// Removes the least recently used components until the rest has at most `most_bytes` bytes.
    pub fn trim_components(&self, most_bytes: u64) -> io::Result<()> {
        let mut folders = Vec::new();
        for entry in fs::read_dir(self.folder.join(COMPONENTS))? {
            let folder = entry?.path();
            let (mut bytes, mut used) = (0, std::time::SystemTime::UNIX_EPOCH);
            for file in fs::read_dir(&folder)? {
                let about = file?.metadata()?;
                bytes += about.len();
                used = used.max(about.modified()?);
            }
            folders.push((used, bytes, folder));
        }
        folders.sort();
        let mut total: u64 = folders.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, folder) in folders {
            if total <= most_bytes {
                break;
            }
            fs::remove_dir_all(&folder)?;
            total -= bytes;
        }
        Ok(())
    }

    /// Removes temporary files that a killed writer left behind at least an hour ago.
    pub fn tidy(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.filter_map(Result::ok) {
            let temporary = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
            let written = entry.metadata().and_then(|about| about.modified()).ok();
            let old = written.and_then(|at| at.elapsed().ok()).is_some_and(|age| age >= ABANDONED_AGE);
            if temporary && old {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Removes a damaged artifact, so that it is made again.
    pub fn remove(&self, key: &str, kind: &str) {
        let _ = fs::remove_file(self.path(key, kind));
    }

    /// Writes an artifact and the checksum of its bytes beside it.
    pub fn store_summed(
        &self,
        key: &str,
        kind: &str,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), KernelError> {
        let mut sum = 0;
        self.store(key, kind, |file| {
            write(file)?;
            sum = sums::of_file(file)?;
            Ok(())
        })?;
        self.store_sealed(key, &sum_kind(kind), sum.to_string().into_bytes())
    }

    /// True if an artifact has a checksum. That of an earlier version has none.
    pub fn has_sum(&self, key: &str, kind: &str) -> bool {
        self.path(key, &sum_kind(kind)).exists()
    }

    /// Writes the checksum of an artifact that is there.
    pub fn store_sum(&self, key: &str, kind: &str) -> Result<(), KernelError> {
        let path = self.path(key, kind);
        let sum = File::open(&path).and_then(|file| sums::of_file(&file)).map_err(|e| KernelError::io(&path, e))?;
        self.store_sealed(key, &sum_kind(kind), sum.to_string().into_bytes())
    }

    /// Compares an artifact with the checksum beside it.
    ///
    /// # Errors
    /// [`KernelError::Damaged`] if it is another artifact, or if one of the two is missing.
    pub fn check(&self, key: &str, kind: &str) -> Result<(), KernelError> {
        let path = self.path(key, kind);
        let check = || {
            let sum = self.sealed(key, &sum_kind(kind))?;
            let sum = std::str::from_utf8(&sum).ok().and_then(|digits| digits.parse::<u32>().ok());
            let sum = sum.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the checksum is no number"))?;
            sums::check_file(&File::open(&path)?, sum)
        };
        check().map_err(|source| KernelError::Damaged { path: path.clone(), source })
    }

    /// Writes a text that [`Self::sealed`] reads.
    pub fn store_sealed(&self, key: &str, kind: &str, text: Vec<u8>) -> Result<(), KernelError> {
        let sealed = sums::seal(text);
        self.store(key, kind, |file| file.write_all(&sealed))
    }

    /// Reads a text that has its checksum at its end.
    ///
    /// # Errors
    /// `InvalidData` if it is damaged.
    pub fn sealed(&self, key: &str, kind: &str) -> io::Result<Vec<u8>> {
        let bytes = fs::read(self.path(key, kind))?;
        sums::unseal(&bytes).map(<[u8]>::to_vec)
    }

    /// Loads a component from this cache.
    pub fn load(&self, engine: &Engine, key: &str) -> Result<Component, KernelError> {
        // SAFETY: only `store` writes into this private folder, and the key covers engine, version and CPU.
        Ok(unsafe { Component::deserialize_file(engine, self.path(key, "code")) }?)
    }

    /// Writes an artifact atomically: to a temporary name, then synced and renamed.
    pub fn store(
        &self,
        key: &str,
        kind: &str,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), KernelError> {
        let path = self.path(key, kind);
        let fail = |e| KernelError::io(&path, e);
        let folder = path.parent().unwrap_or(&self.folder);
        let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder).map_err(fail)?;
        write(file.as_file_mut()).map_err(fail)?;
        file.as_file_mut().flush().map_err(fail)?;
        file.as_file().sync_all().map_err(fail)?;
        file.persist(&path).map_err(|e| fail(e.error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_flipped_bit_in_an_artifact_or_its_checksum_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ArtifactCache::open(&folder.path().join("cache")).unwrap();
        let damaged = || matches!(cache.check("key", "code"), Err(KernelError::Damaged { .. }));
        assert!(damaged(), "there is none");
        cache.store_summed("key", "code", |file| file.write_all(&[7; 100_000])).unwrap();
        cache.check("key", "code").unwrap();
        for kind in ["code", "code.sum"] {
            let path = cache.path("key", kind);
            let good = fs::read(&path).unwrap();
            for at in (0..good.len()).step_by(good.len() / 10) {
                let mut bent = good.clone();
                bent[at] ^= 0x10;
                fs::write(&path, &bent).unwrap();
                assert!(damaged(), "{kind} at {at}");
            }
            fs::write(&path, &good).unwrap();
            cache.check("key", "code").unwrap();
        }
        cache.remove("key", "code.sum");
        assert!(damaged(), "its checksum is missing");
    }

    #[test]
    fn what_a_killed_writer_left_goes_when_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ArtifactCache::open(&folder.path().join("cache")).unwrap();
        cache.store("key", "image", |file| file.write_all(b"whole")).unwrap();
        let [young, old] = ["young", "old"].map(|name| cache.path(TEMPORARY, name));
        fs::write(&young, b"half").unwrap();
        let file = File::create(&old).unwrap();
        file.set_modified(SystemTime::now() - ABANDONED_AGE * 2).unwrap();
        let kept = File::options().write(true).open(cache.path("key", "image")).unwrap();
        kept.set_modified(SystemTime::now() - ABANDONED_AGE * 2).unwrap();
        cache.tidy();
        assert!(young.exists() && !old.exists());
        assert_eq!(fs::read(cache.path("key", "image")).unwrap(), b"whole");
    }
}
