//! A file that is there while a worker lives. A worker that finds one follows another that died, perhaps of damaged code,
//! and reads its kernels' artifacts to the end before it uses them. Never locks: only one worker has a state folder.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::Error;

const NAME: &str = "running";

/// The mark of this worker.
pub(super) struct LifeMark {
    path: PathBuf,
    found: bool,
}

impl LifeMark {
    /// Leaves the mark in the state folder.
    pub(super) fn set(state: &Path) -> Result<Self, Error> {
        let path = state.join(NAME);
        let found = path.exists();
        // The folder may belong to another user than this process, which is still root then: a link there leads nowhere.
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        options.open(&path).map_err(Error::io("the mark of a running worker"))?;
        Ok(Self { path, found })
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
        let first = LifeMark::set(folder.path()).unwrap();
        assert!(!first.follows_a_death());
        drop(first);
        let second = LifeMark::set(folder.path()).unwrap();
        assert!(second.follows_a_death());
        second.end();
        assert!(!LifeMark::set(folder.path()).unwrap().follows_a_death());
    }
}
