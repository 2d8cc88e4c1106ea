//! A file that is there while a worker lives. A worker that finds one follows another that died, perhaps of damaged code,
//! and reads its kernels' artifacts to the end before it uses them. Never locks: only one worker has a state folder.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const NAME: &str = "running";

/// The mark of this worker.
pub(super) struct LifeMark {
    path: PathBuf,
    found: bool,
}

impl LifeMark {
    /// Leaves the mark in the state folder.
    pub(super) fn set(state: &Path) -> Self {
        let path = state.join(NAME);
        let found = path.symlink_metadata().is_ok();
        // The folder may belong to another user than this process, which is still root then: a link there leads nowhere.
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        if let Err(error) = options.open(&path) {
            // Something else has its name. The worker starts all the same, with care.
            tracing::warn!(%error, path = %path.display(), "the mark of a running worker could not be left");
            return Self { path, found: true };
        }
        Self { path, found }
    }

    /// True if the worker before this one did not end in order.
    pub(super) fn follows_a_death(&self) -> bool {
        self.found
    }

    /// Takes the mark away at an end in order.
    pub(super) fn end(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, "the mark of a running worker could not be taken away");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_worker_that_did_not_end_in_order_leaves_its_mark() {
        let folder = tempfile::tempdir().unwrap();
        let first = LifeMark::set(folder.path());
        assert!(!first.follows_a_death());
        drop(first);
        let second = LifeMark::set(folder.path());
        assert!(second.follows_a_death());
        second.end();
        assert!(!LifeMark::set(folder.path()).follows_a_death());
    }

    #[test]
    fn what_has_its_name_is_neither_followed_nor_fatal() {
        let folder = tempfile::tempdir().unwrap();
        let (other, mark) = (folder.path().join("other"), folder.path().join(NAME));
        fs::write(&other, "kept").unwrap();
        std::os::unix::fs::symlink(&other, &mark).unwrap();
        assert!(LifeMark::set(folder.path()).follows_a_death());
        assert_eq!(fs::read(&other).unwrap(), b"kept");
        fs::remove_file(&mark).unwrap();
        fs::create_dir(&mark).unwrap();
        assert!(LifeMark::set(folder.path()).follows_a_death());
    }
}
