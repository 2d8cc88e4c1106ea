//! The temporary folder of a command's own worker. A command that was killed leaves its folder behind; the next one finds
//! that nobody holds it any more and clears it away.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

const PREFIX: &str = "cofferdam-run-";
const LOCK: &str = "lock";
/// A folder that is younger may not have its lock yet.
const YOUNG: Duration = Duration::from_secs(60);

pub struct OwnFolder {
    folder: TempDir,
    /// Held, by a lock that ends with the process, however that ends.
    _lock: File,
}

impl OwnFolder {
    pub fn make(base: &Path) -> anyhow::Result<Self> {
        clear(base, YOUNG);
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(base).context("a temporary folder")?;
        let lock = File::create(folder.path().join(LOCK)).context("a temporary folder")?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).context("a temporary folder")?;
        Ok(Self { folder, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Clears away what killed commands of this user have left. What cannot be looked at stays: it costs only space.
fn clear(base: &Path, young: Duration) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.filter_map(Result::ok) {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let Some(about) = ours.then(|| fs::symlink_metadata(entry.path()).ok()).flatten() else { continue };
        let old = about.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age >= young));
        if !about.is_dir() || about.uid() != rustix::process::geteuid().as_raw() || !old {
            continue;
        }
        let held = match File::open(entry.path().join(LOCK)) {
            Ok(lock) => flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err(),
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        };
        if !held && let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::debug!(%error, "a folder that was left behind could not be removed");
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
        clear(base.path(), YOUNG);
        assert!(killed.exists() && early.exists(), "they are young");
        clear(base.path(), Duration::ZERO);
        assert!(!killed.exists() && !early.exists());
        assert!(held.path().exists() && other.exists() && base.path().join("cofferdam-run-link").exists());
    }
}
