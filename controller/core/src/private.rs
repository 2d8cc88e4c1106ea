//! Files that hold a key. One that other users can read or change is refused with the command that mends it, as ssh does;
//! one that its group can change is tightened. A group that can only read it is fine: mounted secrets are made so.
//!
//! Never replaces a file that exists, and never shows its content.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use zeroize::Zeroizing;

/// The permission bits of everybody but owner and group, and the group's bit for writing.
const OTHERS: u32 = 0o007;
const GROUP_WRITES: u32 = 0o020;
/// The longest file. No key comes near it.
const MAX_KEY_FILE_BYTES: u64 = 4 << 10;

/// Reads a key's file; `None` if it does not exist.
///
/// # Errors
/// Other users can read or change it, or it is not a short text.
pub fn read_private(path: &Path) -> Result<Option<Zeroizing<String>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(Error::other("is not a file"));
    }
    judge(path, &file, about.permissions().mode())?;
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_KEY_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_KEY_FILE_BYTES {
        return Err(Error::other("is too long for a key"));
    }
    Ok(Some(text))
}

fn judge(path: &Path, file: &File, mode: u32) -> Result<()> {
    let shown = path.display();
    if mode & OTHERS != 0 {
        return Err(Error::other(format!(
            "other users of this machine can use it (mode {:04o}); run `chmod 600 {shown}`, and replace the key if one of \
             them may have read it",
            mode & 0o777
        )));
    }
    if mode & GROUP_WRITES != 0 {
        let tightened = mode & 0o777 & !GROUP_WRITES;
        file.set_permissions(Permissions::from_mode(tightened)).map_err(|error| {
            Error::other(format!(
                "its group can change it, and that cannot be mended ({error}); run `chmod 600 {shown}`"
            ))
        })?;
        tracing::warn!(path = %shown, "the group of this file could change it; its mode is now {tightened:04o}");
    }
    Ok(())
}

/// Writes a key to a new file with mode 0600. The file is there whole or not at all, also after a crash.
///
/// # Errors
/// It exists, or cannot be written.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    if path.symlink_metadata().is_ok_and(|about| !about.is_file() || about.len() > 0) {
        return Err(ErrorKind::AlreadyExists.into());
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    // Left by a start that was killed here.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_mode(mode: u32) -> (Result<Option<Zeroizing<String>>>, u32) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        write_private(&path, "text").unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let read = read_private(&path);
        (read, path.metadata().unwrap().permissions().mode() & 0o777)
    }

    #[test]
    fn a_key_that_others_can_use_is_refused() {
        for mode in [0o600, 0o400, 0o440, 0o640] {
            let (read, after) = with_mode(mode);
            assert_eq!((read.unwrap().unwrap().as_str(), after), ("text", mode));
        }
        for (mode, after) in [(0o660, 0o640), (0o620, 0o600)] {
            let (read, now) = with_mode(mode);
            assert!(read.unwrap().is_some() && now == after, "{mode:o} became {now:o}");
        }
        for mode in [0o666, 0o644, 0o604, 0o602, 0o777] {
            let (read, after) = with_mode(mode);
            let said = read.unwrap_err().to_string();
            assert!(said.contains("chmod 600") && said.contains(&format!("{mode:04o}")) && after == mode, "{said}");
        }
    }

    #[test]
    fn a_key_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        assert!(read_private(&path).unwrap().is_none());
        std::fs::write(folder.path().join("a.key.new"), "half").unwrap();
        write_private(&path, "one").unwrap();
        assert_eq!(write_private(&path, "two").unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        std::fs::write(&path, vec![b'a'; 5_000]).unwrap();
        assert!(read_private(&path).unwrap_err().to_string().contains("too long"));
        assert!(read_private(folder.path()).is_err());
    }
}
