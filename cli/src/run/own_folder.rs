//! The temporary folder of a command's own worker. A killed command leaves its folder behind, without the lock; the next
//! command removes it.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

const PREFIX: &str = "cofferdam-run-";
const LOCK: &str = "lock";
/// A younger folder may not have its lock yet.
const MIN_AGE: Duration = Duration::from_secs(60);

pub(super) struct OwnFolder {
    folder: TempDir,
    /// The kernel releases the lock when the process ends, however it ends.
    _lock: File,
}

impl OwnFolder {
    pub(super) fn make(base: &Path) -> anyhow::Result<Self> {
        clear(base, MIN_AGE);
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(base).context("a temporary folder")?;
        let lock = File::create(folder.path().join(LOCK)).context("a temporary folder")?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).context("a temporary folder")?;
        Ok(Self { folder, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes the folders of this user's killed commands. A folder that cannot be read stays: it costs only space.
fn clear(base: &Path, min_age: Duration) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.filter_map(Result::ok) {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let Some(about) = ours.then(|| fs::symlink_metadata(entry.path()).ok()).flatten() else { continue };
        let old = about.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age >= min_age));
        if !about.is_dir() || about.uid() != rustix::process::geteuid().as_raw() || !old {
            continue;
        }
        let held = match File::open(entry.path().join(LOCK)) {
            Ok(lock) => flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err(),
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        };
        if !held && let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::debug!(%error, "an abandoned folder could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_command_left_is_cleared_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let held = OwnFolder::make(base.path()).unwrap();
        let killed = base.path().join("cofferdam-run-killed");
        fs::create_dir_all(killed.join("state/sessions")).unwrap();
        File::create(killed.join(LOCK)).unwrap();
        let early = base.path().join("cofferdam-run-early");
        fs::create_dir(&early).unwrap();
        let other = base.path().join("cofferdam-other");
        fs::create_dir(&other).unwrap();
        std::os::unix::fs::symlink(&other, base.path().join("cofferdam-run-link")).unwrap();
        clear(base.path(), MIN_AGE);
        assert!(killed.exists() && early.exists(), "they are young");
        clear(base.path(), Duration::ZERO);
        assert!(!killed.exists() && !early.exists());
        assert!(held.path().exists() && other.exists() && base.path().join("cofferdam-run-link").exists());
    }
}
