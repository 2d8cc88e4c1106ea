//! The data folder: private to its owner, and used by one process at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::Error;

/// The permission bit with which everybody can add and replace files.
const OTHERS_WRITE: u32 = 0o002;

/// Locks the data folder: two processes would break each other's sessions.
///
/// # Errors
/// Another process holds the lock.
pub(super) fn lock_folder(folder: &Path) -> Result<File, Error> {
    let path = folder.join("lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(Error::file(&path))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        let taken = "another `cofferdam serve` uses this data folder; stop it, or set another folder with --data-dir";
        Error::File { path: folder.to_owned(), source: std::io::Error::other(taken) }
    })?;
    Ok(file)
}

/// The name of this folder's worker in a database that other processes use, too: made at the first start, and kept.
///
/// # Errors
/// The file cannot be read or written, or the operating system returned no random bytes.
pub(super) fn worker_home(folder: &Path) -> Result<String, Error> {
    let path = folder.join("worker-id");
    let read = std::fs::read_to_string(&path).unwrap_or_default();
    let known = read.trim();
    if known.len() == 16 && known.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(format!("local-{known}"));
    }
    let random: [u8; 8] = cofferdam_core::random().map_err(|e| Error::file(&path)(std::io::Error::other(e)))?;
    let id = format!("{:016x}", u64::from_le_bytes(random));
    std::fs::write(&path, &id).map_err(Error::file(&path))?;
    Ok(format!("local-{id}"))
}

/// Creates the data folder, accessible to its owner only.
///
/// # Errors
/// The folder cannot be created.
pub(super) fn make_private(folder: &Path) -> Result<(), Error> {
    if folder.symlink_metadata().is_ok_and(|_| folder.metadata().is_ok_and(|about| !about.is_dir())) {
        let said = "is a file; the data folder has to be a folder: name another one with --data-dir";
        return Err(Error::file(folder)(std::io::Error::other(said)));
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Error::file(folder))?;
    let mode = folder.metadata().map_err(Error::file(folder))?.permissions().mode();
    if mode & OTHERS_WRITE != 0 {
        // Not refused: a volume of a container is often made so, and nobody else is there.
        tracing::warn!(
            folder = %folder.display(),
            "every user of this machine can put files into the data folder; run `chmod 700` on it"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folders_worker_keeps_its_name() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let name = worker_home(one.path()).unwrap();
        assert!(name.starts_with("local-") && name.len() == 22, "{name}");
        assert_eq!(worker_home(one.path()).unwrap(), name);
        assert_ne!(worker_home(two.path()).unwrap(), name);
        // Torn by a full disk: a new one.
        std::fs::write(one.path().join("worker-id"), "12").unwrap();
        assert_ne!(worker_home(one.path()).unwrap(), name);
    }
}
