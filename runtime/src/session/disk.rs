//! Suspended sessions and snapshots on disk.
//!
//! A state is a folder. `meta.json` names the generation of `memory` and `files` that belong to it. It is replaced
//! last, by a rename after both are synced, so a reader sees the old state or the new one, never a mix. Everything read
//! back is validated as untrusted.
//!
//! A state that must not be read any more is renamed at once and deleted later. Leftovers of a crash are deleted at the
//! next start.
//! after a crash goes at the next start.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cofferdam_contract::{Language, Limits, OrganizationId, Problem, SessionId};
use cofferdam_host_api::{Base, Quota, Vfs};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::memory::Delta;

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
        DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(io_error)?;
        let folder = Self {
            root: root.to_owned(),
            budget,
            used: AtomicU64::default(),
            retired: Mutex::default(),
            renames: AtomicU64::default(),
        };
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(root).map_err(io_error)? {
            let path = entry.map_err(io_error)?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("damaged") => continue,
                Some(RETIRED) => {
                    delete(&path);
                    continue;
                }
                _ => {}
            }
            match read_meta(&path) {
                Ok(meta) => {
                    folder.used.fetch_add(size_of_folder(&path), Ordering::Relaxed);
                    found.insert(meta.id.clone(), meta);
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a suspended session cannot be read; set aside");
                    let _ = fs::rename(&path, path.with_extension("damaged"));
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
        let before = size_of_folder(&folder);
        meta.generation = read_meta(&folder).map_or(1, |old| old.generation + 1);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(io_error)?;
        let written = self.write_files(&folder, meta, vfs, memory);
        if written.is_err() {
            remove_other_generations(&folder, meta.generation - 1);
            if meta.generation == 1 {
                let _ = fs::remove_dir(&folder);
            }
        } else {
            remove_other_generations(&folder, meta.generation);
        }
        let after = size_of_folder(&folder);
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
        file.sync_data().map_err(io_error)?;
        let mut files = BufWriter::new(create(&name("files")).map_err(io_error)?);
        vfs.to_archive(&mut files).map_err(|e| io_error(io::Error::other(e)))?;
        files.into_inner().map_err(|e| io_error(e.into_error()))?.sync_data().map_err(io_error)?;
        let json = serde_json::to_vec(meta).map_err(|e| io_error(e.into()))?;
        let mut temporary = create(&folder.join("meta.new")).map_err(io_error)?;
        temporary.write_all(&json).map_err(io_error)?;
        temporary.sync_data().map_err(io_error)?;
        fs::rename(folder.join("meta.new"), folder.join("meta.json")).map_err(io_error)?;
        File::open(folder).and_then(|f| f.sync_all()).map_err(io_error)?;
        File::open(&self.root).and_then(|f| f.sync_all()).map_err(io_error)
    }

    /// Reads a state back.
    pub(crate) fn read(&self, id: &SessionId, base: &Arc<Base>, quota: Quota) -> Result<(Meta, Stored), Error> {
        let folder = self.path(id);
        let meta = read_meta(&folder).map_err(io_error)?;
        let name = |part: &str| folder.join(format!("{}.{part}", meta.generation));
        let damaged = |e: &dyn std::fmt::Display| io_error(io::Error::new(io::ErrorKind::InvalidData, e.to_string()));
        let delta = File::open(name("memory")).map_err(io_error)?;
        let delta = Delta::open(delta).map_err(|e| damaged(&e))?;
        let files = BufReader::new(File::open(name("files")).map_err(io_error)?);
        let vfs = Vfs::from_archive(Arc::clone(base), quota, files).map_err(|e| damaged(&e))?;
        Ok((meta, Stored { delta, vfs }))
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
            let size = size_of_folder(&folder);
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
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!(%error, folder = %folder.display(), "a session's old state could not be deleted");
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).read(true).create(true).truncate(true).mode(0o600).open(path)
}

fn read_meta(folder: &Path) -> io::Result<Meta> {
    let path = folder.join("meta.json");
    if fs::metadata(&path)?.len() > 64 << 10 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "meta.json is too long"));
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

fn remove_other_generations(folder: &Path, keep: u64) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name != "meta.json" && !name.starts_with(&format!("{keep}.")) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn size_of_folder(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(root: &Path, id: &SessionId) {
        let meta = Meta {
            id: id.clone(),
            organization: OrganizationId::default_organization(),
            language: Language::Python,
            limits: Limits { wall_ms: 1, cpu_ms: 1, memory_bytes: 1, output_bytes: 1, disk_bytes: 1, files: 1 },
            ttl_s: 1,
            ends_at: 1,
            last_used_at: 1,
            image_digest: String::new(),
            kernel_version: String::new(),
            uptime_us: 0,
            generation: 1,
            warnings: Vec::new(),
        };
        fs::create_dir(root.join(id.as_str())).unwrap();
        fs::write(root.join(id.as_str()).join("meta.json"), serde_json::to_vec(&meta).unwrap()).unwrap();
    }

    fn names(root: &Path) -> Vec<String> {
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_retired_state_is_gone_at_once_and_deleted_later_or_at_the_next_start() {
        let root = tempfile::tempdir().unwrap();
        let [first, second] = [1_u128, 2].map(SessionId::from_random);
        state(root.path(), &first);
        state(root.path(), &second);
        let (folder, found) = StateFolder::open(root.path(), 1 << 20).unwrap();
        assert_eq!(found.len(), 2);
        let before = folder.used();
        folder.retire(&first).unwrap();
        folder.retire(&first).unwrap(); // there is nothing: nothing to do
        // The name is free: a new state of the same session does not collide with the old one.
        state(root.path(), &first);
        folder.retire(&first).unwrap();
        assert_eq!(names(root.path()).iter().filter(|name| name.ends_with(".gone")).count(), 2);
        // A crash here: the next start finds the state that was not retired, and deletes the rest.
        let (again, found) = StateFolder::open(root.path(), 1 << 20).unwrap();
        assert!(found.iter().map(|meta| &meta.id).eq([&second]));
        assert_eq!(names(root.path()), [second.as_str()]);
        assert_eq!(again.used() * 2, before);
        again.retire(&second).unwrap();
        again.sweep();
        assert_eq!((names(root.path()).len(), again.used()), (0, 0));
    }
}
