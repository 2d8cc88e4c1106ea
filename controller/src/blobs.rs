//! Components as they came, by digest, in files of the data folder. What is read is what was written, or an error: every
//! read compares the digest. Writing is durable when it returns.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cofferdam_contract::tool::MAX_COMPONENT_BYTES;
use sha2::{Digest as _, Sha256};

use crate::Error;
use crate::auth::hex;
use crate::clock::random_bits;

const PREFIX: &str = "sha256:";
/// A deployment takes less than this, so what is older and in no version's need is in nobody's.
const STALE: Duration = Duration::from_secs(3_600);

/// The digest of bytes: `sha256:` and 64 hex digits.
pub fn digest(bytes: &[u8]) -> String {
    format!("{PREFIX}{}", hex(&Sha256::digest(bytes)))
}

/// Whether this is a digest as [`digest`] writes it.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix(PREFIX)
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
}

#[derive(Debug, Clone)]
pub struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    /// Makes the folder, for its owner only.
    ///
    /// # Errors
    /// Where the folder cannot be made.
    pub fn open(folder: PathBuf) -> Result<Self, Error> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(Error::file(&folder))?;
        Ok(Self { folder })
    }

    fn path(&self, digest: &str) -> Result<PathBuf, Error> {
        match digest.strip_prefix(PREFIX).filter(|_| is_digest(digest)) {
            Some(hex) => Ok(self.folder.join(format!("sha256-{hex}"))),
            None => Err(Error::Row(format!("{:?} is no digest", digest.chars().take(80).collect::<String>()))),
        }
    }

    pub async fn has(&self, digest: &str) -> Result<bool, Error> {
        let path = self.path(digest)?;
        blocking(move || Ok(path.is_file())).await
    }

    /// Writes bytes and gives their digest; nothing is written where they are there already.
    ///
    /// # Errors
    /// A disk that takes no more.
    pub async fn put(&self, bytes: Bytes) -> Result<String, Error> {
        let blobs = self.clone();
        blocking(move || {
            let digest = digest(&bytes);
            let path = blobs.path(&digest)?;
            if fs::metadata(&path).is_ok_and(|found| found.len() == bytes.len() as u64) {
                // Young again, so that a sweep leaves it to the deployment that is under way.
                let file = OpenOptions::new().write(true).open(&path).map_err(Error::file(&path))?;
                file.set_modified(SystemTime::now()).map_err(Error::file(&path))?;
                return Ok(digest);
            }
            let half = blobs.folder.join(format!("tmp-{:032x}", random_bits()?));
            let written = write(&half, &path, &bytes, &blobs.folder);
            if written.is_err() {
                remove(&half);
            }
            written.map(|()| digest)
        })
        .await
    }

    /// Reads a blob whole; nothing where there is none.
    ///
    /// # Errors
    /// One that is not what its name says, which is then removed: it can be deployed again.
    pub async fn read(&self, digest: &str) -> Result<Option<Bytes>, Error> {
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
                let damaged = std::io::Error::other("the file is not what its name says; it is removed");
                return Err(Error::file(&path)(damaged));
            }
            Ok(Some(Bytes::from(bytes)))
        })
        .await
    }

    /// Removes what is older than an hour and not in `needed`, also what a process that died has left half-written.
    pub async fn sweep(&self, needed: Vec<String>) {
        let blobs = self.clone();
        // A blob too many takes room and does no harm; the next sweep tries again.
        let _ = blocking(move || {
            let kept: std::collections::HashSet<PathBuf> =
                needed.iter().filter_map(|digest| blobs.path(digest).ok()).collect();
            for entry in fs::read_dir(&blobs.folder).map_err(Error::file(&blobs.folder))?.flatten() {
                if !kept.contains(&entry.path()) && is_old(&entry) {
                    remove(&entry.path());
                }
            }
            Ok(())
        })
        .await;
    }
}

fn write(half: &Path, path: &Path, bytes: &[u8], folder: &Path) -> Result<(), Error> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(half).map_err(Error::file(half))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::file(half))?;
    fs::rename(half, path).map_err(Error::file(path))?;
    // The name has to be on disk too.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::file(folder))
}

fn is_old(entry: &fs::DirEntry) -> bool {
    let modified = entry.metadata().and_then(|found| found.modified());
    modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > STALE))
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a file could not be removed");
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::Wire(e.to_string()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_put_is_read_and_verified() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path().join("blobs")).unwrap();
        let digest = blobs.put(Bytes::from_static(b"component")).await.unwrap();
        assert!(is_digest(&digest));
        assert_eq!(blobs.put(Bytes::from_static(b"component")).await.unwrap(), digest);
        assert_eq!(blobs.read(&digest).await.unwrap().as_deref(), Some(&b"component"[..]));
        let path = blobs.path(&digest).unwrap();
        fs::write(&path, b"tampered!").unwrap();
        assert!(blobs.read(&digest).await.is_err());
        assert_eq!(blobs.read(&digest).await.unwrap(), None, "what is damaged is gone");
        assert_eq!(blobs.put(Bytes::from_static(b"component")).await.unwrap(), digest);
        blobs.sweep(vec![]).await;
        assert!(blobs.has(&digest).await.unwrap(), "what is young may be a deployment under way");
        let old = SystemTime::now() - 2 * STALE;
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        blobs.sweep(vec![digest.clone()]).await;
        assert!(blobs.has(&digest).await.unwrap(), "what is needed stays");
        blobs.sweep(vec![]).await;
        assert!(!blobs.has(&digest).await.unwrap());
    }

    #[tokio::test]
    async fn a_name_leads_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path().to_owned()).unwrap();
        for name in ["", "sha256:", "sha256:../../x", &format!("sha256:{}", "A".repeat(64)), &"a".repeat(64)] {
            assert!(!is_digest(name) && blobs.read(name).await.is_err(), "{name}");
        }
    }
}
