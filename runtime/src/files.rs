//! File operations of a confined process. They do without `stat`, which its filter refuses: sizes are those of open
//! files. Never follows a symbolic link to a folder, and never deletes below a folder's own files.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{Dir, Mode, OFlags, fstat, open};

/// The length of an open file.
pub(crate) fn len(file: &File) -> io::Result<u64> {
    u64::try_from(fstat(file)?.st_size).map_err(io::Error::other)
}

/// The time at which a folder was last changed or renamed, in Unix seconds.
pub(crate) fn changed_at(folder: &Path) -> io::Result<u64> {
    u64::try_from(fstat(File::open(folder)?)?.st_ctime).map_err(io::Error::other)
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

/// Deletes a folder of files.
pub(crate) fn delete_folder(path: &Path) -> io::Result<()> {
    for name in names(path)? {
        fs::remove_file(path.join(name))?;
    }
    fs::remove_dir(path)
}

/// The bytes of a folder's files. Those that cannot be opened do not count.
pub(crate) fn size_of_folder(path: &Path) -> u64 {
    let sizes = names(path).unwrap_or_default().into_iter();
    sizes.filter_map(|name| File::open(path.join(name)).and_then(|file| len(&file)).ok()).sum()
}
