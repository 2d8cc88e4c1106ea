//! A kernel's manifest, `kernel.toml`: its name, its files, and how its image is made.
//!
//! To add a kernel, add such a folder. The engine knows no kernel by name.

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
    /// One word. Languages refer to kernels by it.
    pub name: String,
    /// The interpreter's version and our revision.
    pub version: String,
    pub language: String,
    pub module: ModuleSpec,
    pub image: ImageSpec,
    /// The environment for making the image and for every run. A run's own variables are added to it.
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

/// The roles of the core module's exports, and the import `door`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exports {
    pub init: String,
    pub boot: String,
    pub turn: String,
    pub alloc: String,
    /// `module.name` of the import for the raw door.
    pub door: String,
}

/// The recipe for the first image.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    /// Files whose text is run as one turn each.
    #[serde(default)]
    pub prelude: Vec<PathBuf>,
    /// Source texts that are run like user code.
    #[serde(default)]
    pub warmup: Vec<String>,
    /// The template of a turn. `$SPEC` is replaced by the turn spec as a string literal.
    pub turn: String,
    /// A turn after the last warm-up, which puts the interpreter into the state that runs expect.
    #[serde(default)]
    pub finish: Option<String>,
}

/// A read-only file or folder of the kernel that guests see.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountSpec {
    pub guest: String,
    pub path: PathBuf,
}

impl Manifest {
    /// Reads `kernel.toml` from a kernel's folder.
    pub fn read(folder: &Path) -> Result<Self, KernelError> {
        let path = folder.join("kernel.toml");
        let text = fs::read_to_string(&path).map_err(|e| KernelError::io(&path, e))?;
        toml::from_str(&text).map_err(|e| KernelError::Manifest { path, reason: e.to_string() })
    }

    /// The folders below `kernels` that contain a manifest, sorted by name.
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

/// All files of a folder, in order.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, KernelError> {
    let mut files = Vec::new();
    collect(folder, &mut files).map_err(|e| KernelError::io(folder, e))?;
    files.sort();
    Ok(files)
}

/// The SHA-256 of each file of a folder, by relative path.
pub fn file_digests(folder: &Path) -> Result<BTreeMap<PathBuf, String>, KernelError> {
    let mut digests = BTreeMap::new();
    for path in files(folder)? {
        let mut hash = Sha256::new();
        let mut file = fs::File::open(&path).map_err(|e| KernelError::io(&path, e))?;
        io::copy(&mut file, &mut hash).map_err(|e| KernelError::io(&path, e))?;
        digests.insert(path.strip_prefix(folder).unwrap_or(&path).to_owned(), hex::encode(hash.finalize()));
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
