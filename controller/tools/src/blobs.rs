//! Components by digest, as files of the data folder. Every read compares the digest, so that it returns the bytes that
//! were written, or an error. A write is durable when it returns.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cofferdam_contract::tool::MAX_COMPONENT_BYTES;
use cofferdam_core::random_bits;
use sha2::{Digest as _, Sha256};

use crate::Error;

const PREFIX: &str = "sha256:";
/// A deployment takes less than this: an older file that no version needs belongs to no deployment under way.
const STALE_AGE: Duration = Duration::from_secs(3_600);

/// The digest of bytes: `sha256:` and 64 hex digits.
fn digest(bytes: &[u8]) -> String {
    format!("{PREFIX}{}", hex::encode(Sha256::digest(bytes)))
}

/// The digest of bytes, which may be many.
pub(crate) async fn digest_of(bytes: &Bytes) -> Result<String, Error> {
    let bytes = bytes.clone();
    blocking(move || Ok(digest(&bytes))).await
}

/// True if the text has the form of a [`digest`].
fn is_digest(text: &str) -> bool {
    text.strip_prefix(PREFIX)
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
}

/// A file that was written for a deployment.
#[derive(Debug)]
pub(crate) struct Written {
    path: PathBuf,
    /// Another deployment of the same bytes makes the file younger.
    at: SystemTime,
}

/// The folder of components.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    /// In a folder that is made with the first component, readable only by its owner.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn path(&self, digest: &str) -> Result<PathBuf, Error> {
        match digest.strip_prefix(PREFIX).filter(|_| is_digest(digest)) {
            Some(hex) => Ok(self.folder.join(format!("sha256-{hex}"))),
            None => Err(Error::Digest(digest.chars().take(80).collect())),
        }
    }

    /// Writes bytes that have this digest. Bytes that are there already are not written again.
    ///
    /// # Errors
    /// The bytes cannot be written.
    pub(crate) async fn put(&self, digest: &str, bytes: Bytes) -> Result<Written, Error> {
        let (blobs, path) = (self.clone(), self.path(digest)?);
        blocking(move || {
            let at = SystemTime::now();
            if fs::metadata(&path).is_ok_and(|found| found.len() == bytes.len() as u64) {
                // Makes the file young again, so that a sweep leaves it to the deployment under way.
                match OpenOptions::new().write(true).open(&path).and_then(|file| file.set_modified(at)) {
                    Ok(()) => return Ok(Written { path, at }),
                    // Another deployment has just removed it.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(Error::file(&path)(error)),
                }
            }
            make(&blobs.folder)?;
            let half = blobs.folder.join(format!("tmp-{:032x}", random_bits()?));
            let written = write(&half, &path, &bytes, at, &blobs.folder);
            if written.is_err() {
                remove(&half);
            }
            written.map(|()| Written { path, at })
        })
        .await
    }

    /// Removes the file of a deployment that was refused, unless a version needs it or another deployment has written it
    /// since.
    ///
    /// # Errors
    /// The thread ended early.
    pub(crate) async fn discard(&self, written: Written, needed: &[String]) -> Result<(), Error> {
        if needed.iter().any(|digest| self.path(digest).is_ok_and(|path| path == written.path)) {
            return Ok(());
        }
        blocking(move || {
            let modified = fs::metadata(&written.path).and_then(|found| found.modified());
            if modified.is_ok_and(|modified| modified <= written.at) {
                remove(&written.path);
            }
            Ok(())
        })
        .await
    }

    /// Reads a whole blob; `None` if no blob has this digest.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the content has another digest, or the file's failure.
    pub(crate) async fn read(&self, digest: &str) -> Result<Option<Bytes>, Error> {
        let (path, wanted) = (self.path(digest)?, digest.to_owned());
        blocking(move || {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(Error::file(&path)(error)),
            };
            let mut bytes = Vec::new();
            let most = MAX_COMPONENT_BYTES as u64 + 1;
            file.take(most).read_to_end(&mut bytes).map_err(Error::file(&path))?;
            if self::digest(&bytes) != wanted {
                remove(&path);
                return Err(Error::Damaged { path });
            }
            Ok(Some(Bytes::from(bytes)))
        })
        .await
    }

    /// Removes files that are older than an hour and not in `needed`, also the half-written ones of a process that
    /// died.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(crate) async fn sweep(&self, needed: Vec<String>) -> Result<(), Error> {
        let blobs = self.clone();
        blocking(move || {
            let kept: HashSet<PathBuf> = needed.iter().filter_map(|digest| blobs.path(digest).ok()).collect();
            let entries = match fs::read_dir(&blobs.folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(Error::file(&blobs.folder)(error)),
            };
            for entry in entries.flatten() {
                if !kept.contains(&entry.path()) && is_old(&entry) {
                    remove(&entry.path());
                }
            }
            Ok(())
        })
        .await
    }
}

/// Makes the folder, unless it is there.
fn make(folder: &Path) -> Result<(), Error> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Error::file(folder))?;
    match folder.parent().filter(|above| !above.as_os_str().is_empty()) {
        Some(above) => File::open(above).and_then(|above| above.sync_all()).map_err(Error::file(above)),
        None => Ok(()),
    }
}

fn write(half: &Path, path: &Path, bytes: &[u8], at: SystemTime, folder: &Path) -> Result<(), Error> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(half).map_err(Error::file(half))?;
    let written = file.write_all(bytes).and_then(|()| file.set_modified(at)).and_then(|()| file.sync_all());
    written.map_err(Error::file(half))?;
    fs::rename(half, path).map_err(Error::file(path))?;
    // The file's name has to reach the disk too.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::file(folder))
}

fn is_old(entry: &fs::DirEntry) -> bool {
    let modified = entry.metadata().and_then(|found| found.modified());
    modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > STALE_AGE))
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a file could not be removed");
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_folder_is_made_with_the_first_component() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::new(folder.path().join("blobs"));
        let (bytes, name) = (Bytes::from_static(b"x"), digest(b"x"));
        assert!(blobs.read(&name).await.unwrap().is_none());
        blobs.sweep(vec![name.clone()]).await.unwrap();
        assert!(!folder.path().join("blobs").exists());
        blobs.put(&name, bytes.clone()).await.unwrap();
        assert_eq!(blobs.read(&name).await.unwrap(), Some(bytes));
    }

    #[tokio::test]
    async fn what_is_put_is_read_and_verified() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::new(folder.path().join("blobs"));
        let bytes = Bytes::from_static(b"component");
        let digest = digest_of(&bytes).await.unwrap();
        assert!(is_digest(&digest));
        for _ in 0..2 {
            blobs.put(&digest, bytes.clone()).await.unwrap();
        }
        assert_eq!(blobs.read(&digest).await.unwrap().as_deref(), Some(&b"component"[..]));
        let path = blobs.path(&digest).unwrap();
        fs::write(&path, b"tampered!").unwrap();
        assert!(blobs.read(&digest).await.is_err());
        assert_eq!(blobs.read(&digest).await.unwrap(), None, "what is damaged is gone");
        blobs.put(&digest, bytes.clone()).await.unwrap();
        blobs.sweep(vec![]).await.unwrap();
        assert!(path.is_file(), "what is young may be a deployment under way");
        let old = SystemTime::now() - 2 * STALE_AGE;
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        blobs.sweep(vec![digest.clone()]).await.unwrap();
        assert!(path.is_file(), "what is needed stays");
        blobs.sweep(vec![]).await.unwrap();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_refused_deployment_takes_its_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::new(folder.path().join("blobs"));
        let bytes = Bytes::from_static(b"component");
        let digest = digest_of(&bytes).await.unwrap();
        let needed = blobs.put(&digest, bytes.clone()).await.unwrap();
        blobs.discard(needed, std::slice::from_ref(&digest)).await.unwrap();
        assert!(blobs.read(&digest).await.unwrap().is_some(), "a version needs it");
        let first = blobs.put(&digest, bytes.clone()).await.unwrap();
        std::thread::sleep(Duration::from_millis(20));
        let second = blobs.put(&digest, bytes.clone()).await.unwrap();
        blobs.discard(first, &[]).await.unwrap();
        assert!(blobs.read(&digest).await.unwrap().is_some(), "another deployment has it");
        blobs.discard(second, &[]).await.unwrap();
        assert_eq!(blobs.read(&digest).await.unwrap(), None);
        assert_eq!(fs::read_dir(&blobs.folder).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_name_leads_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::new(folder.path().to_owned());
        for name in ["", "sha256:", "sha256:../../x", &format!("sha256:{}", "A".repeat(64)), &"a".repeat(64)] {
            assert!(!is_digest(name) && blobs.read(name).await.is_err(), "{name}");
        }
    }
}
