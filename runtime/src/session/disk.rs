//! Suspended sessions and snapshots on disk.
//!
//! A state is a folder. `meta.json` names the generation of `memory` and `files` that belong to it. It is replaced
//! last, by a rename after both are synced, so a reader sees the old state or the new one, never a mix. Everything read
//! back is validated as untrusted, and compared with the checksums that were written with it. A damaged state is set
//! aside under another name, and nothing is made of it.
//!
//! A state that must not be read any more is renamed at once and deleted later. Leftovers of a crash are deleted at the
//! next start.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cofferdam_contract::{Language, Limits, OrganizationId, Problem, SessionId};
use cofferdam_host_api::{ArchiveError, Base, FsError, Quota, Vfs};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::files;
use crate::memory::{Delta, DeltaError};
use crate::sums;

/// A session's metadata, besides its memory and files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub id: SessionId,
    pub organization: OrganizationId,
    pub language: Language,
    pub limits: Limits,
    pub ttl_s: u64,
    pub ends_at: u64,
    pub last_used_at: u64,
    /// The image that the state's memory is a delta of.
    pub image_digest: String,
    pub kernel_version: String,
    /// The guest's monotonic clock, in microseconds.
    pub uptime_us: u64,
    /// The number in the names of this state's files.
    pub generation: u64,
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The contents of `meta.json`, before its own checksum.
#[derive(Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    meta: Meta,
    /// Absent in states of versions that wrote none.
    #[serde(default)]
    sums: Option<Sums>,
}

/// The checksums of a state's files.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Sums {
    memory: u32,
    files: u32,
}

/// A part of a state on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Description,
    Memory,
    Files,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Description => "description (meta.json)",
            Self::Memory => "memory",
            Self::Files => "files",
        })
    }
}

/// A state cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("its {part} cannot be used: {source}")]
    Damaged { part: Part, source: io::Error },
    #[error("the worker's memory for files is used up")]
    NoRoom,
    #[error(transparent)]
    Io(io::Error),
}

impl ReadError {
    /// Tells damage from failures that may pass.
    fn of(part: Part, source: io::Error) -> Self {
        use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
        match source.kind() {
            InvalidData | NotFound | UnexpectedEof => Self::Damaged { part, source },
            _ => Self::Io(source),
        }
    }

    /// True if there is no state at all.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Damaged { part: Part::Description, source } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// A folder of states with a total size limit.
#[derive(Debug)]
pub(crate) struct StateFolder {
    root: PathBuf,
    budget: u64,
    used: AtomicU64,
    /// Renamed and not yet deleted.
    retired: Mutex<Vec<PathBuf>>,
    renames: AtomicU64,
}

/// The extension of folders that are to be deleted.
const RETIRED: &str = "gone";
/// The extension of damaged states, and the most that are kept for the operator to look at.
const DAMAGED: &str = "damaged";
const MAX_DAMAGED: usize = 16;
/// The most bytes of a state's metadata.
const MAX_META: u64 = 64 << 10;

/// A memory and files that were read back.
pub(crate) struct Stored {
    pub delta: Delta,
    pub vfs: Vfs,
}

fn io_error(source: io::Error) -> Error {
    Error::Io { context: "a session's state", source }
}

fn full() -> Error {
    Problem::overloaded("the disk space for suspended sessions is used up; delete sessions or snapshots").into()
}

impl StateFolder {
    /// Opens the folder and reads its states. Unreadable ones are set aside, not deleted.
    pub(crate) fn open(root: &Path, budget: u64) -> Result<(Self, Vec<Meta>), Error> {
        files::make_folder(root).map_err(io_error)?;
        let folder = Self {
            root: root.to_owned(),
            budget,
            used: AtomicU64::default(),
            retired: Mutex::default(),
            renames: AtomicU64::default(),
        };
        let mut found = BTreeMap::new();
        for name in files::names(root).map_err(io_error)? {
            let path = root.join(name);
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(DAMAGED) => continue,
                Some(RETIRED) => {
                    delete(&path);
                    continue;
                }
                _ => {}
            }
            match read_meta(&path) {
                Ok(Record { meta, .. }) => {
                    folder.used.fetch_add(files::size_of_folder(&path), Ordering::Relaxed);
                    found.insert(meta.id.clone(), meta);
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a suspended session cannot be read; set aside");
                    folder.move_aside(&path);
                }
            }
        }
        Ok((folder, found.into_values().collect()))
    }

    fn path(&self, id: &SessionId) -> PathBuf {
        self.root.join(id.as_str())
    }

    /// Bytes on disk.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Writes a state and returns its size in bytes. It is durable on return. `memory` writes the delta.
    pub(crate) fn write(
        &self,
        meta: &mut Meta,
        vfs: &Vfs,
        memory: impl FnOnce(&mut File) -> io::Result<u64>,
    ) -> Result<u64, Error> {
        let folder = self.path(&meta.id);
        let before = files::size_of_folder(&folder);
        meta.generation = read_meta(&folder).map_or(1, |old| old.meta.generation + 1);
        files::make_folder(&folder).map_err(io_error)?;
        let written = self.write_files(&folder, meta, vfs, memory);
        if written.is_err() {
            remove_other_generations(&folder, meta.generation - 1);
            if meta.generation == 1 {
                let _ = fs::remove_dir(&folder);
            }
        } else {
            remove_other_generations(&folder, meta.generation);
        }
        let after = files::size_of_folder(&folder);
        self.used.fetch_add(after, Ordering::Relaxed);
        self.used.fetch_sub(before.min(self.used()), Ordering::Relaxed);
        written.map(|()| after)
    }

    fn write_files(
        &self,
        folder: &Path,
        meta: &Meta,
        vfs: &Vfs,
        memory: impl FnOnce(&mut File) -> io::Result<u64>,
    ) -> Result<(), Error> {
        let name = |part: &str| folder.join(format!("{}.{part}", meta.generation));
        let mut file = create(&name("memory")).map_err(io_error)?;
        let len = memory(&mut file).map_err(io_error)?;
        if self.used() + len > self.budget {
            self.sweep();
        }
        if self.used() + len > self.budget {
            return Err(full());
        }
        let memory = sums::of_file(&file).map_err(io_error)?;
        file.sync_data().map_err(io_error)?;
        let mut archive = BufWriter::new(create(&name("files")).map_err(io_error)?);
        vfs.to_archive(&mut archive).map_err(|e| io_error(io::Error::other(e)))?;
        let archive = archive.into_inner().map_err(|e| io_error(e.into_error()))?;
        let sums = Sums { memory, files: sums::of_file(&archive).map_err(io_error)? };
        archive.sync_data().map_err(io_error)?;
        let record = Record { meta: meta.clone(), sums: Some(sums) };
        let json = sums::seal(serde_json::to_vec(&record).map_err(|e| io_error(e.into()))?);
        let mut temporary = create(&folder.join("meta.new")).map_err(io_error)?;
        temporary.write_all(&json).map_err(io_error)?;
        temporary.sync_data().map_err(io_error)?;
        fs::rename(folder.join("meta.new"), folder.join("meta.json")).map_err(io_error)?;
        File::open(folder).and_then(|f| f.sync_all()).map_err(io_error)?;
        File::open(&self.root).and_then(|f| f.sync_all()).map_err(io_error)
    }

    /// The metadata of a state.
    pub(crate) fn meta(&self, id: &SessionId) -> Result<Meta, ReadError> {
        let record = read_meta(&self.path(id)).map_err(|source| ReadError::of(Part::Description, source))?;
        Ok(record.meta)
    }

    /// Reads a state back, and compares all of it with its checksums.
    pub(crate) fn read(&self, id: &SessionId, base: &Arc<Base>, quota: Quota) -> Result<(Meta, Stored), ReadError> {
        let folder = self.path(id);
        let Record { meta, sums } = read_meta(&folder).map_err(|source| ReadError::of(Part::Description, source))?;
        let open = |part: &str, sum: Option<u32>| -> io::Result<File> {
            let file = File::open(folder.join(format!("{}.{part}", meta.generation)))?;
            sum.map_or(Ok(()), |sum| sums::check_file(&file, sum))?;
            Ok(file)
        };
        let memory = open("memory", sums.map(|sums| sums.memory)).and_then(|file| {
            Delta::open(file).map_err(|error| match error {
                DeltaError::Io(source) => source,
                error @ DeltaError::Damaged(_) => invalid(error),
            })
        });
        let delta = memory.map_err(|source| ReadError::of(Part::Memory, source))?;
        let archive = open("files", sums.map(|sums| sums.files));
        let archive = archive.map_err(|source| ReadError::of(Part::Files, source))?;
        let vfs = Vfs::from_archive(Arc::clone(base), quota, BufReader::new(archive)).map_err(|error| match error {
            ArchiveError::Fs(FsError::NoSpace | FsError::Quota) => ReadError::NoRoom,
            ArchiveError::Io(source) => ReadError::of(Part::Files, source),
            error => ReadError::of(Part::Files, invalid(error)),
        })?;
        Ok((meta, Stored { delta, vfs }))
    }

    /// Keeps a damaged state under another name, where nothing reads it.
    pub(crate) fn set_aside(&self, id: &SessionId) {
        let path = self.path(id);
        let size = files::size_of_folder(&path);
        self.move_aside(&path);
        self.used.fetch_sub(size.min(self.used()), Ordering::Relaxed);
    }

    /// Deletes it if enough damaged states are kept already.
    fn move_aside(&self, path: &Path) {
        let kept = files::names(&self.root).unwrap_or_default();
        let kept = kept.iter().filter(|name| Path::new(name).extension().is_some_and(|kind| kind == DAMAGED)).count();
        let aside = path.with_extension(DAMAGED);
        if kept >= MAX_DAMAGED || fs::rename(path, &aside).is_err() {
            delete(path);
        }
    }

    /// Makes a state unreadable. [`Self::sweep`] deletes it. Memory mapped from it stays valid.
    ///
    /// # Errors
    /// The state may still be there.
    pub(crate) fn retire(&self, id: &SessionId) -> Result<(), Error> {
        let number = self.renames.fetch_add(1, Ordering::Relaxed);
        let retired = self.root.join(format!("{id}.{number}.{RETIRED}"));
        match fs::rename(self.path(id), &retired) {
            Ok(()) => self.retired.lock().push(retired),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error(error)),
        }
        Ok(())
    }

    /// Like [`Self::retire`], if nothing depends on it.
    pub(crate) fn remove(&self, id: &SessionId) {
        if let Err(error) = self.retire(id) {
            tracing::warn!(%error, session = %id, "a session's state could not be deleted");
        }
    }

    /// Deletes retired states. Called regularly.
    pub(crate) fn sweep(&self) {
        let retired = std::mem::take(&mut *self.retired.lock());
        for folder in retired {
            let size = files::size_of_folder(&folder);
            delete(&folder);
            self.used.fetch_sub(size.min(self.used()), Ordering::Relaxed);
        }
    }

    /// An unnamed file, for states that live as long as they are open.
    pub(crate) fn unnamed(&self) -> io::Result<File> {
        tempfile::tempfile_in(&self.root)
    }
}

fn delete(folder: &Path) {
    if let Err(error) = files::delete_folder(folder) {
        tracing::warn!(%error, folder = %folder.display(), "a session's old state could not be deleted");
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).read(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Reads and checks the metadata. That of earlier versions has no checksum, nor the names of others.
fn read_meta(folder: &Path) -> io::Result<Record> {
    let mut bytes = Vec::new();
    File::open(folder.join("meta.json"))?.take(MAX_META + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_META {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "meta.json is too long"));
    }
    let unsealed = sums::unseal(&bytes);
    let record: Record = serde_json::from_slice(*unsealed.as_ref().unwrap_or(&bytes.as_slice()))?;
    if record.sums.is_some() {
        unsealed?;
    }
    Ok(record)
}

fn remove_other_generations(folder: &Path, keep: u64) {
    for name in files::names(folder).unwrap_or_default() {
        let text = name.to_string_lossy();
        if text != "meta.json" && !text.starts_with(&format!("{keep}.")) {
            let _ = fs::remove_file(folder.join(&name));
        }
    }
}

#[cfg(test)]
mod tests;
