//! Suspended sessions and snapshots on disk.
//!
//! A state is a folder. `meta.json` names the generation of `memory` and `files` that belong to it. It is replaced
//! last, by a rename after both are synced, so a reader sees the old state or the new one, never a mix. Everything read
//! back is validated as untrusted, and compared with the checksums that were written with it. A damaged state is set
//! aside under another name, and nothing is made of it.
//!
//! A state that must not be read any more is renamed at once and deleted later. Leftovers of a crash are deleted at the
//! next start, also a state without a description: its first write did not end.
//!
//! The room for a state is taken before it is written. Everything in the folder counts until it is deleted.

mod aside;
mod record;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cofferdam_contract::{Problem, SessionId};
use cofferdam_host_api::{ArchiveError, Base, FsError, Quota, Vfs};
use parking_lot::Mutex;

use crate::error::Error;
use crate::files;
use crate::memory::{Delta, DeltaError, Pages};
use crate::session::ledger::{Lease, Ledger};
use crate::sums::{self, Unchecked};
use aside::Aside;
use record::{MAX_META, Record, Sums, read_meta};
pub(crate) use record::{Meta, Part, ReadError};

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// A folder of states with a total size limit.
#[derive(Debug)]
pub(crate) struct StateFolder {
    root: PathBuf,
    /// Counts states, retired and damaged ones too, by the names of their folders.
    ledger: Arc<Ledger>,
    /// The names of folders that are renamed and not yet deleted.
    retired: Mutex<Vec<String>>,
    aside: Mutex<Aside>,
    renames: AtomicU64,
}

/// The extension of folders that are to be deleted.
const RETIRED: &str = "gone";

/// A memory and files that were read back. The files are checked, the memory's bytes not yet.
pub(crate) struct Stored {
    pub delta: Delta,
    pub vfs: Vfs,
    pub memory: Unchecked,
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
            ledger: Ledger::new(budget),
            retired: Mutex::default(),
            aside: Mutex::default(),
            renames: AtomicU64::default(),
        };
        let mut found = BTreeMap::new();
        for name in files::names(root).map_err(io_error)? {
            let path = root.join(&name);
            folder.ledger.found(&name, files::size_of_folder(&path));
            let name = name.to_string_lossy().into_owned();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(aside::DAMAGED) => folder.note_aside(name),
                Some(RETIRED) => folder.retired.lock().push(name),
                // Its first write did not come to its end, so nobody was told of it.
                _ if lacks_description(&path) => folder.retired.lock().push(name),
                _ => match read_meta(&path).map_err(|source| ReadError::of(Part::Description, source)) {
                    Ok(Record { meta, .. }) => drop(found.insert(meta.id.clone(), meta)),
                    Err(error @ ReadError::Damaged { .. }) => {
                        let kept = folder.move_aside(&name);
                        tracing::error!(path = %path.display(), %error, kept, "a stored state is damaged; set aside");
                    }
                    Err(error) => tracing::error!(path = %path.display(), %error, "a stored state cannot be read"),
                },
            }
        }
        folder.sweep();
        Ok((folder, found.into_values().collect()))
    }

    fn path(&self, id: &SessionId) -> PathBuf {
        self.root.join(id.as_str())
    }

    /// Bytes on disk, and those that are being written.
    pub(crate) fn used(&self) -> u64 {
        self.ledger.used()
    }

    /// Takes room for a state. Retired and damaged states are deleted to make room.
    fn reserve(&self, bytes: u64) -> Result<Lease, Error> {
        if let Some(lease) = self.ledger.take(bytes) {
            return Ok(lease);
        }
        self.sweep();
        loop {
            if let Some(lease) = self.ledger.take(bytes) {
                return Ok(lease);
            }
            if !self.delete_oldest_aside() {
                return Err(full());
            }
        }
    }

    /// Writes a state and returns its size in bytes. It is durable on return. `memory` writes the delta, of `memory_len`
    /// bytes. If it fails, nothing is left of the new state.
    ///
    /// # Errors
    /// There is no room, it cannot be written, or it was retired meanwhile.
    pub(crate) fn write(
        &self,
        meta: &mut Meta,
        vfs: &Vfs,
        memory_len: u64,
        memory: impl FnOnce(&mut File) -> io::Result<u64>,
    ) -> Result<u64, Error> {
        let lease = self.reserve(memory_len + archive_len(vfs)? + MAX_META)?;
        let folder = self.path(&meta.id);
        let before = read_meta(&folder).ok().map(|old| old.meta.generation);
        meta.generation = before.map_or(1, |generation| generation + 1);
        let made = files::make_folder(&folder).map_err(io_error);
        let written = made.and_then(|()| self.write_files(&folder, meta, vfs, memory));
        let size = match written {
            Ok(size) => size,
            Err(error) => {
                self.undo(&meta.id, before);
                return Err(error);
            }
        };
        remove_other_generations(&folder, meta.generation);
        if self.ledger.keep(meta.id.as_str().as_ref(), size, lease, || !lacks_description(&folder)) {
            return Ok(size);
        }
        self.sweep();
        Err(Problem::conflict("it was deleted while it was written").into())
    }

    /// Deletes what a failed write has left, also a description that was written last.
    fn undo(&self, id: &SessionId, before: Option<u64>) {
        let folder = self.path(id);
        let now = read_meta(&folder).ok().map(|record| record.meta.generation);
        match before {
            Some(generation) if now == before => remove_other_generations(&folder, generation),
            _ => {
                self.remove(id);
                self.sweep();
            }
        }
    }

    fn write_files(
        &self,
        folder: &Path,
        meta: &Meta,
        vfs: &Vfs,
        memory: impl FnOnce(&mut File) -> io::Result<u64>,
    ) -> Result<u64, Error> {
        let name = |part: &str| folder.join(format!("{}.{part}", meta.generation));
        let mut file = create(&name("memory")).map_err(io_error)?;
        memory(&mut file).map_err(io_error)?;
        let mut size = files::len(&file).map_err(io_error)?;
        let memory = sums::of_file(&file).map_err(io_error)?;
        file.sync_data().map_err(io_error)?;
        let mut archive = BufWriter::new(create(&name("files")).map_err(io_error)?);
        vfs.to_archive(&mut archive).map_err(archive_error)?;
        let archive = archive.into_inner().map_err(|e| io_error(e.into_error()))?;
        size += files::len(&archive).map_err(io_error)?;
        let sums = Sums { memory, files: sums::of_file(&archive).map_err(io_error)? };
        archive.sync_data().map_err(io_error)?;
        let record = Record { meta: meta.clone(), sums: Some(sums) };
        let json = sums::seal(serde_json::to_vec(&record).map_err(|e| io_error(e.into()))?);
        let mut temporary = create(&folder.join("meta.new")).map_err(io_error)?;
        temporary.write_all(&json).map_err(io_error)?;
        temporary.sync_data().map_err(io_error)?;
        fs::rename(folder.join("meta.new"), folder.join("meta.json")).map_err(io_error)?;
        File::open(folder).and_then(|f| f.sync_all()).map_err(io_error)?;
        File::open(&self.root).and_then(|f| f.sync_all()).map_err(io_error)?;
        Ok(size + json.len() as u64)
    }

    /// The metadata of a state.
    pub(crate) fn meta(&self, id: &SessionId) -> Result<Meta, ReadError> {
        let record = read_meta(&self.path(id)).map_err(|source| ReadError::of(Part::Description, source))?;
        Ok(record.meta)
    }

    /// Reads a state back, and compares all of it with its checksums but the bytes of its memory, which the caller must
    /// check before it uses them. `notes` counts its memory for as long as it is used: the file may be deleted before.
    pub(crate) fn read(
        &self,
        id: &SessionId,
        base: &Arc<Base>,
        quota: Quota,
        notes: &Arc<Ledger>,
    ) -> Result<(Meta, Stored), ReadError> {
        let folder = self.path(id);
        let Record { meta, sums } = read_meta(&folder).map_err(|source| ReadError::of(Part::Description, source))?;
        let open = |part: &str| files::open_file(&folder.join(format!("{}.{part}", meta.generation)));
        let memory = open("memory").and_then(|file| {
            let unchecked = Unchecked::new(&file, sums.map(|sums| sums.memory))?;
            let len = files::len(&file)?;
            let delta = Delta::open(Pages::new(file, notes.count(len))).map_err(|error| match error {
                DeltaError::Io(source) => source,
                error @ DeltaError::Damaged(_) => invalid(error),
            })?;
            Ok((delta, unchecked))
        });
        let (delta, memory) = memory.map_err(|source| ReadError::of(Part::Memory, source))?;
        let archive = open("files").and_then(|file| {
            Unchecked::new(&file, sums.map(|sums| sums.files))?.check()?;
            Ok(file)
        });
        let archive = archive.map_err(|source| ReadError::of(Part::Files, source))?;
        let vfs = Vfs::from_archive(Arc::clone(base), quota, BufReader::new(archive)).map_err(|error| match error {
            ArchiveError::Fs(FsError::NoSpace | FsError::Quota) => ReadError::NoRoom,
            ArchiveError::Io(source) => ReadError::of(Part::Files, source),
            error => ReadError::of(Part::Files, invalid(error)),
        })?;
        Ok((meta, Stored { delta, vfs, memory }))
    }

    /// Makes a state unreadable. [`Self::sweep`] deletes it. Memory mapped from it stays valid.
    ///
    /// # Errors
    /// The state may still be there.
    pub(crate) fn retire(&self, id: &SessionId) -> Result<(), Error> {
        let number = self.renames.fetch_add(1, Ordering::Relaxed);
        let retired = format!("{id}.{number}.{RETIRED}");
        let rename = || fs::rename(self.path(id), self.root.join(&retired));
        match self.ledger.rename(id.as_str().as_ref(), retired.as_ref(), rename) {
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

    /// Deletes retired states, and damaged ones that are old. Called regularly.
    pub(crate) fn sweep(&self) {
        let retired = std::mem::take(&mut *self.retired.lock());
        let left: Vec<String> = retired.into_iter().filter(|name| !self.delete(name)).collect();
        self.retired.lock().extend(left);
        self.forget_aside();
    }

    /// Deletes a folder. Returns false, and goes on counting it, if it is still there.
    fn delete(&self, name: &str) -> bool {
        let folder = self.root.join(name);
        match files::delete_folder(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, folder = %folder.display(), "a session's old state could not be deleted");
                false
            }
            _ => {
                self.ledger.forget(name.as_ref());
                true
            }
        }
    }

    /// An unnamed file, for states that live as long as they are open.
    pub(crate) fn unnamed(&self) -> io::Result<File> {
        tempfile::tempfile_in(&self.root)
    }
}

/// True for a folder without `meta.json`. The worker's confinement allows no `stat`.
fn lacks_description(folder: &Path) -> bool {
    files::open_file(&folder.join("meta.json")).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The bytes of the archive of a file system.
fn archive_len(vfs: &Vfs) -> Result<u64, Error> {
    struct Count(u64);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    vfs.to_archive(&mut count).map_err(archive_error)?;
    Ok(count.0)
}

fn archive_error(error: ArchiveError) -> Error {
    io_error(match error {
        ArchiveError::Io(source) => source,
        other => io::Error::other(other),
    })
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).read(true).create(true).truncate(true).mode(0o600).open(path)
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
