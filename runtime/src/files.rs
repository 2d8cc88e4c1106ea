//! File operations of a confined process. They do without `stat`, which its filter refuses: sizes are those of open
//! files. Never follows a symbolic link to a folder, and never deletes below a folder's own files.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;

/// The length of an open file.
pub(crate) fn len(file: &File) -> io::Result<u64> {
    u64::try_from(fstat(file)?.st_size).map_err(io::Error::other)
}

/// The time at which a folder was last changed or renamed, in Unix seconds.
pub(crate) fn changed_at(folder: &Path) -> io::Result<u64> {
    u64::try_from(fstat(File::open(folder)?)?.st_ctime).map_err(io::Error::other)
}

/// Opens a file to read it. Refuses links and what is no file with `InvalidData`: a pipe would be waited for.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let other = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    let file = match open(path, flags, Mode::empty()) {
        Err(Errno::LOOP) => return Err(other("it is a symbolic link")),
        opened => opened?,
    };
    match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(File::from(file)),
        _ => Err(other("it is not a file")),
    }
}

/// The names in a folder.
pub(crate) fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut names = Vec::new();
    for entry in Dir::new(open(folder, flags, Mode::empty())?)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Makes a private folder, unless it is there. Its parent must be there.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Deletes a folder of files, and folders that do not belong there.
pub(crate) fn delete_folder(path: &Path) -> io::Result<()> {
    for name in names(path)? {
        let entry = path.join(name);
        match fs::remove_file(&entry) {
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => delete_folder(&entry)?,
            removed => removed?,
        }
    }
    fs::remove_dir(path)
}

/// The bytes of a folder's files. Those that cannot be opened do not count.
pub(crate) fn size_of_folder(path: &Path) -> u64 {
    let sizes = names(path).unwrap_or_default().into_iter();
    sizes.filter_map(|name| open_file(&path.join(name)).and_then(|file| len(&file)).ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_are_opened_and_everything_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("state");
        fs::create_dir_all(inside.join("folder/deeper")).unwrap();
        fs::write(inside.join("file"), "text").unwrap();
        fs::write(inside.join("folder/file"), "text").unwrap();
        std::os::unix::fs::symlink(inside.join("file"), inside.join("link")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, inside.join("pipe"), FileType::Fifo, Mode::from(0o600), 0).unwrap();
        assert_eq!(len(&open_file(&inside.join("file")).unwrap()).unwrap(), 4);
        for other in ["link", "pipe", "folder"] {
            assert_eq!(open_file(&inside.join(other)).unwrap_err().kind(), io::ErrorKind::InvalidData, "{other}");
        }
        assert_eq!(open_file(&inside.join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(size_of_folder(&inside), 4);
        delete_folder(&inside).unwrap();
        assert!(!inside.exists());
    }
}
