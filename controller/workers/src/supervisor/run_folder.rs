//! The private folder of a worker's socket. It belongs to one process at a time: leftovers of a killed one are cleared.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::Error;

const SOCKET: &str = "worker.sock";

/// A folder that is removed with its content when it is dropped.
pub(super) struct RunFolder {
    path: PathBuf,
    handle: OwnedFd,
}

impl RunFolder {
    pub(super) fn make(path: &Path) -> Result<Self, Error> {
        match fs::remove_dir_all(path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::file(path)(e)),
            _ => {}
        }
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::file(path))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| Error::file(path)(e.into()))?;
        Ok(Self { path: path.to_owned(), handle })
    }

    /// The socket's path in this process, through the folder's handle: the path of a socket has at most 107 bytes, and
    /// the data folder's may be longer.
    pub(super) fn socket(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", self.handle.as_raw_fd()))
    }

    pub(super) fn bind(&self) -> Result<UnixListener, Error> {
        UnixListener::bind(self.socket()).map_err(Error::file(self.path.join(SOCKET)))
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::debug!(%error, "the worker's socket could not be removed; the next start does it");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_long_path_will_do_and_what_was_left_behind_is_cleared() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("x".repeat(200)).join("run");
        let killed = RunFolder::make(&path).unwrap();
        let _listener = killed.bind().unwrap();
        std::fs::write(path.join("odd"), b"left").unwrap();
        std::mem::forget(killed);
        let folder = RunFolder::make(&path).unwrap();
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
        let listener = folder.bind().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let client = UnixStream::connect(folder.socket()).unwrap();
        drop((listener.accept().unwrap(), client));
        drop(folder);
        assert!(!path.exists());
    }
}
