//! A kernel's manifest, `kernel.toml`: what it is, where its parts are, how its image is made.
//!
//! Adding a kernel is adding such a folder; nothing in the engine knows one by name.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::KernelError;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// One word: the kernel that a language names.
    pub name: String,
    /// The interpreter's version and our revision of it.
    pub version: String,
    pub language: String,
    pub module: ModuleSpec,
    pub image: ImageSpec,
    /// The environment that the image is made in and that runs start from; a run's own comes on top.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    #[serde(default)]
    pub mounts: Vec<MountSpec>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleSpec {
    pub path: PathBuf,
    pub exports: Exports,
}

/// Which of the core module's exports (and the import `door`) plays which part.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exports {
    pub init: String,
    pub boot: String,
    pub turn: String,
    pub alloc: String,
    /// `module.name` of the import that is the raw door.
    pub door: String,
}

/// How the first image is made.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    /// Files whose text is a turn each.
    #[serde(default)]
    pub prelude: Vec<PathBuf>,
    /// Source texts that are run as a user's would be.
    #[serde(default)]
    pub warmup: Vec<String>,
    /// The text of a turn; `$SPEC` stands for the turn spec as a string literal.
    pub turn: String,
    /// A turn after the last warm-up, which leaves the interpreter as a run wants to find it.
    #[serde(default)]
    pub finish: Option<String>,
}

/// A read-only file or folder of the kernel's that guests see.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountSpec {
    pub guest: String,
    pub path: PathBuf,
}

impl Manifest {
    /// Reads `kernel.toml` of a kernel's folder.
    pub fn read(folder: &Path) -> Result<Self, KernelError> {
        let path = folder.join("kernel.toml");
        let text = fs::read_to_string(&path).map_err(|e| KernelError::io(&path, e))?;
        toml::from_str(&text).map_err(|e| KernelError::Manifest { path, reason: e.to_string() })
    }

    /// The folders below `kernels` that hold a manifest, sorted by name.
    pub fn folders(kernels: &Path) -> Result<Vec<PathBuf>, KernelError> {
        let entries = fs::read_dir(kernels).map_err(|e| KernelError::io(kernels, e))?;
        let mut folders: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.join("kernel.toml").is_file())
            .collect();
        folders.sort();
        if folders.is_empty() {
            return Err(KernelError::None(kernels.to_owned()));
        }
        Ok(folders)
    }
}

/// Every file of a folder, in order.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, KernelError> {
    let mut files = Vec::new();
    collect(folder, &mut files).map_err(|e| KernelError::io(folder, e))?;
    files.sort();
    Ok(files)
}

/// SHA-256 of every file of a folder, by its path in it.
pub fn file_digests(folder: &Path) -> Result<BTreeMap<PathBuf, String>, KernelError> {
    let mut digests = BTreeMap::new();
    for path in files(folder)? {
        let mut hash = Sha256::new();
        let mut file = fs::File::open(&path).map_err(|e| KernelError::io(&path, e))?;
        io::copy(&mut file, &mut hash).map_err(|e| KernelError::io(&path, e))?;
        digests.insert(path.strip_prefix(folder).unwrap_or(&path).to_owned(), hex(&hash.finalize()));
    }
    Ok(digests)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
