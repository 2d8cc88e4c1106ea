//! A sandbox's file system, in memory: `/home/user` and `/tmp` to write, the kernel's own files to read.
//!
//! Never touches a real file. What it holds is counted: against the sandbox's quota as if every hole were filled,
//! against the process's budget as it is allocated, and all of it is given back on drop.

mod archive;
mod budget;
mod change;
mod content;
pub(crate) mod handle;
mod mounts;
pub(crate) mod node;
mod path;
#[cfg(test)]
mod tests;
mod tree;

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cofferdam_contract::LimitName;

pub use archive::ArchiveError;
pub use budget::Budget;
pub use mounts::{MountBytes, Mounts};
pub(crate) use node::Kind;
use node::{Body, NodeId};
use tree::Tree;

/// The longest name between two slashes, in bytes.
pub const NAME_BYTES: usize = 255;
/// The longest path, and the longest target of a symlink, in bytes.
pub const PATH_BYTES: usize = 4_096;
/// The deepest nesting under `/home/user` or `/tmp`.
pub const MAX_DEPTH: usize = 64;
/// Symlinks followed in one path.
pub const SYMLINKS: usize = 16;

/// Why a file operation failed. All of these are the guest's (or the caller's) doing, or a limit's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FsError {
    #[error("bad descriptor")]
    BadDescriptor,
    #[error("busy")]
    Busy,
    #[error("it is in another file system")]
    CrossDevice,
    #[error("it exists already")]
    Exist,
    #[error("file too large")]
    FileTooLarge,
    #[error("not valid UTF-8")]
    Illegal,
    #[error("invalid argument")]
    Invalid,
    #[error("it is a folder")]
    IsFolder,
    #[error("too many levels of symbolic links")]
    Loop,
    #[error("name too long")]
    NameTooLong,
    #[error("no such file or folder")]
    NoEntry,
    #[error("no space left in the sandbox")]
    NoSpace,
    #[error("not a folder")]
    NotFolder,
    #[error("folder not empty")]
    NotEmpty,
    #[error("not permitted")]
    NotPermitted,
    #[error("read-only file system")]
    ReadOnly,
    #[error("too many files in the sandbox")]
    Quota,
    #[error("too many open files")]
    TooManyOpen,
    #[error("unsupported")]
    Unsupported,
}

/// The time of day as sandboxes see it.
pub trait WallClock: Send + Sync {
    /// Since 1970.
    fn now(&self) -> Duration;
}

/// The host's clock, to the microsecond.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Duration::new(now.as_secs(), now.subsec_micros() * 1_000)
    }
}

/// What the file systems of a kernel's sandboxes have in common.
pub struct Base {
    pub mounts: Arc<Mounts>,
    pub budget: Arc<Budget>,
    pub clock: Arc<dyn WallClock>,
}

/// The bounds of one file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Contents of files, holes included, and targets of symlinks.
    pub disk_bytes: u64,
    /// Files, folders and symlinks together.
    pub files: u64,
    /// Files and folders open at the same time.
    pub open_files: u64,
}

/// What a file system holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskUsage {
    pub bytes: u64,
    pub files: u64,
    pub open: u64,
}

/// A file under `/home/user`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// Relative to `/home/user`.
    pub path: String,
    pub size: u64,
    /// Made, moved or written since [`Vfs::mark`].
    pub changed: bool,
}

/// One sandbox's file system.
pub struct Vfs {
    pub(crate) tree: handle::Shared,
}

impl Vfs {
    /// An empty one.
    ///
    /// # Errors
    /// [`FsError::NoSpace`] where the process-wide budget is spent.
    pub fn new(base: Arc<Base>, quota: Quota) -> Result<Self, FsError> {
        Ok(Self::from_tree(Tree::new(base, quota)?))
    }

    fn from_tree(tree: Tree) -> Self {
        Self { tree: Arc::new(Mutex::new(tree)) }
    }

    /// A copy that shares its contents until one of the two writes, with nothing open.
    ///
    /// # Errors
    /// [`FsError::Quota`] where the copy would be over its quota at once; [`FsError::NoSpace`] as for [`Self::new`].
    pub fn fork(&self, quota: Quota) -> Result<Self, FsError> {
        Ok(Self::from_tree(handle::lock(&self.tree).fork(quota)?))
    }

    /// Writes a file under `/home/user`, making the folders above it. It gets all of the bytes, or stays as it was.
    pub fn write_file(&self, path: &str, bytes: &[u8]) -> Result<(), FsError> {
        let mut tree = handle::lock(&self.tree);
        if path.is_empty() || path.ends_with('/') {
            return Err(FsError::Invalid);
        }
        for (at, _) in path.match_indices('/').filter(|(at, _)| *at > 0) {
            let found = path::resolve(&tree, NodeId::HOME, path.get(..at).unwrap_or_default(), true)?;
            if found.node.is_none() {
                tree.create(found.folder, &found.name, Body::Folder(Default::default()))?;
            }
        }
        let found = path::resolve(&tree, NodeId::HOME, path, true)?;
        if let Some(id) = found.node {
            return tree.replace(id, bytes);
        }
        let id = tree.create(found.folder, &found.name, Body::File(Default::default()))?;
        tree.replace(id, bytes).or_else(|error| {
            tree.unlink(&path::Found { node: Some(id), ..found })?;
            Err(error)
        })
    }

    /// The whole of a file under `/home/user`.
    pub fn read_file(&self, path: &str) -> Result<Vec<u8>, FsError> {
        let tree = handle::lock(&self.tree);
        let id = path::resolve(&tree, NodeId::HOME, path, true)?.node.ok_or(FsError::NoEntry)?;
        tree.read(id, 0, usize::MAX)
    }

    /// The size of a file under `/home/user`.
    pub fn file_size(&self, path: &str) -> Result<u64, FsError> {
        let tree = handle::lock(&self.tree);
        let id = path::resolve(&tree, NodeId::HOME, path, true)?.node.ok_or(FsError::NoEntry)?;
        match tree.stat(id)? {
            stat if stat.kind == Kind::File => Ok(stat.size),
            _ => Err(FsError::IsFolder),
        }
    }

    /// Removes a file or a symlink under `/home/user`, or a folder with everything in it.
    pub fn remove(&self, path: &str) -> Result<(), FsError> {
        let mut tree = handle::lock(&self.tree);
        let found = path::resolve_name(&tree, NodeId::HOME, path)?;
        tree.remove_all(&found)
    }

    /// All files under `/home/user`, folder by folder; symlinks are left out.
    pub fn list(&self) -> Vec<FileInfo> {
        let tree = handle::lock(&self.tree);
        let mut files = Vec::new();
        let mut folders = vec![(NodeId::HOME, String::new(), false)];
        while let Some((folder, prefix, moved)) = folders.pop() {
            let Some(Body::Folder(children)) = tree.node(folder).map(|node| &node.body) else { continue };
            for (name, child) in children {
                let Some(node) = tree.node(*child) else { continue };
                let changed = moved || node.touched >= tree.epoch;
                let path = format!("{prefix}{name}");
                match &node.body {
                    Body::File(content) => files.push(FileInfo { path, size: content.len(), changed }),
                    Body::Folder(_) => folders.push((*child, path + "/", changed)),
                    Body::Link(_) => {}
                }
            }
        }
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        files
    }

    /// Starts a run: from here on [`Self::list`] tells what changed, and [`Self::exceeded`] what was refused.
    pub fn mark(&self) {
        let mut tree = handle::lock(&self.tree);
        tree.epoch += 1;
        tree.exceeded = None;
    }

    /// The limit that refused something since [`Self::mark`], the last one if several did.
    pub fn exceeded(&self) -> Option<LimitName> {
        handle::lock(&self.tree).exceeded
    }

    pub fn usage(&self) -> DiskUsage {
        let tree = handle::lock(&self.tree);
        DiskUsage { bytes: tree.bytes, files: tree.files, open: tree.open }
    }

    pub fn quota(&self) -> Quota {
        handle::lock(&self.tree).quota
    }

    /// For what comes from now on; what is there already stays, even if it is more.
    pub fn set_quota(&self, quota: Quota) {
        handle::lock(&self.tree).quota = quota;
    }

    /// From here on nothing in it can be changed.
    pub fn set_read_only(&self) {
        handle::lock(&self.tree).read_only = true;
    }

    /// Counts changes: as long as it is the same, so is everything in here.
    pub fn changes(&self) -> u64 {
        handle::lock(&self.tree).changes
    }

    /// Everything under `/home/user` and `/tmp`, for [`Self::from_archive`].
    pub fn to_archive(&self, out: impl Write) -> Result<(), ArchiveError> {
        archive::write(&handle::lock(&self.tree), out)
    }

    /// Reads exactly one archive off the front of `from`. Nothing in it is believed.
    pub fn from_archive(base: Arc<Base>, quota: Quota, from: impl Read) -> Result<Self, ArchiveError> {
        Ok(Self::from_tree(archive::read(base, quota, from)?))
    }

    /// By the clock of its [`Base`].
    pub(crate) fn now(&self) -> Duration {
        handle::lock(&self.tree).base.clock.now()
    }

    pub(crate) fn root(&self) -> handle::Handle {
        handle::Handle::root(&self.tree)
    }

    /// `/home/user` as a root of its own.
    pub(crate) fn home(&self) -> handle::Handle {
        handle::Handle::home(&self.tree)
    }
}

impl std::fmt::Debug for Vfs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vfs").field("usage", &self.usage()).finish()
    }
}
