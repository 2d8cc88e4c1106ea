//! A sandbox's in-memory file system: `/home/user` and `/tmp` are writable, the kernel's own files are read-only.
//!
//! Never touches a real file. Contents count against the sandbox's quota as if holes were filled, and against the
//! process's budget as allocated. Everything is returned on drop.

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
mod view;

use std::{
    io::{Read, Write},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cofferdam_contract::LimitName;
use parking_lot::Mutex;

pub use archive::ArchiveError;
pub use budget::Budget;
pub use mounts::{MountBytes, Mounts};
pub(crate) use node::Kind;
use node::{Body, NodeId};
use tree::Tree;
pub use view::FileView;

/// The longest path segment, in bytes.
pub const NAME_BYTES: usize = 255;
/// The longest path and the longest symlink target, in bytes.
pub const PATH_BYTES: usize = 4_096;
/// The deepest nesting under `/home/user` or `/tmp`.
pub const MAX_DEPTH: usize = 64;
/// The most symlinks followed in one path.
pub const SYMLINKS: usize = 16;

/// A failed file operation. The guest or caller is at fault, or a limit.
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

/// The wall clock that sandboxes see.
pub trait WallClock: Send + Sync {
    /// Time since 1970.
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

/// The parts shared by the file systems of all sandboxes of a kernel.
pub struct Base {
    pub mounts: Arc<Mounts>,
    pub budget: Arc<Budget>,
    pub clock: Arc<dyn WallClock>,
}

/// The bounds of one file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Total size of files, holes included, and of symlink targets.
    pub disk_bytes: u64,
    /// Number of files, folders and symlinks.
    pub files: u64,
    /// Number of files and folders open at the same time.
    pub open_files: u64,
}

/// The usage of a file system.
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
    /// Created, moved or written since [`Vfs::mark`].
    pub changed: bool,
}

/// One sandbox's file system.
pub struct Vfs {
    pub(crate) tree: handle::Shared,
}

impl Vfs {
    /// An empty file system.
    ///
    /// # Errors
    /// [`FsError::NoSpace`] if the process-wide budget is spent.
    pub fn new(base: Arc<Base>, quota: Quota) -> Result<Self, FsError> {
        Ok(Self::from_tree(Tree::new(base, quota)?))
    }

    fn from_tree(tree: Tree) -> Self {
        Self { tree: Arc::new(Mutex::new(tree)) }
    }

    /// A copy with nothing open, which shares its contents until one of the two writes.
    ///
    /// # Errors
    /// [`FsError::Quota`] if the copy would exceed its quota; [`FsError::NoSpace`] as for [`Self::new`].
    pub fn fork(&self, quota: Quota) -> Result<Self, FsError> {
        Ok(Self::from_tree(self.tree.lock().fork(quota)?))
    }

    /// Writes a file under `/home/user` and creates its parent folders. All or nothing.
    pub fn write_file(&self, path: &str, bytes: &[u8]) -> Result<(), FsError> {
        let mut tree = self.tree.lock();
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

    /// The whole content of a file under `/home/user`.
    pub fn read_file(&self, path: &str) -> Result<Vec<u8>, FsError> {
        let tree = self.tree.lock();
        let id = path::resolve(&tree, NodeId::HOME, path, true)?.node.ok_or(FsError::NoEntry)?;
        tree.read(id, 0, usize::MAX)
    }

    /// A file under `/home/user` as it is now, to be read in pieces.
    pub fn view_file(&self, path: &str) -> Result<FileView, FsError> {
        let tree = self.tree.lock();
        let id = path::resolve(&tree, NodeId::HOME, path, true)?.node.ok_or(FsError::NoEntry)?;
        FileView::open(&tree, id)
    }

    /// Removes a file, a symlink, or a folder with its contents under `/home/user`.
    pub fn remove(&self, path: &str) -> Result<(), FsError> {
        let mut tree = self.tree.lock();
        let found = path::resolve_name(&tree, NodeId::HOME, path)?;
        tree.remove_all(&found)
    }

    /// All files under `/home/user`, folder by folder, without symlinks.
    pub fn list(&self) -> Vec<FileInfo> {
        let tree = self.tree.lock();
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

    /// Starts a run: [`Self::list`] reports changes from here on, and [`Self::exceeded`] refusals.
    pub fn mark(&self) {
        let mut tree = self.tree.lock();
        tree.epoch += 1;
        tree.exceeded = None;
    }

    /// The last limit that refused something since [`Self::mark`].
    pub fn exceeded(&self) -> Option<LimitName> {
        self.tree.lock().exceeded
    }

    pub fn usage(&self) -> DiskUsage {
        let tree = self.tree.lock();
        DiskUsage { bytes: tree.bytes, files: tree.files, open: tree.open }
    }

    pub fn quota(&self) -> Quota {
        self.tree.lock().quota
    }

    /// Applies to new writes only. Existing contents stay, even if they exceed it.
    pub fn set_quota(&self, quota: Quota) {
        self.tree.lock().quota = quota;
    }

    /// Makes it read-only from now on.
    pub fn set_read_only(&self) {
        self.tree.lock().read_only = true;
    }

    /// A change counter. While it is the same, so are the contents.
    pub fn changes(&self) -> u64 {
        self.tree.lock().changes
    }

    /// Writes everything under `/home/user` and `/tmp`, for [`Self::from_archive`].
    pub fn to_archive(&self, out: impl Write) -> Result<(), ArchiveError> {
        archive::write(&self.tree.lock(), out)
    }

    /// Reads exactly one archive from the start of `from`. The archive is untrusted.
    pub fn from_archive(base: Arc<Base>, quota: Quota, from: impl Read) -> Result<Self, ArchiveError> {
        Ok(Self::from_tree(archive::read(base, quota, from)?))
    }

    /// The current time on the clock of its [`Base`].
    pub(crate) fn now(&self) -> Duration {
        self.tree.lock().base.clock.now()
    }

    pub(crate) fn root(&self) -> handle::Handle {
        handle::Handle::root(&self.tree)
    }

    /// `/home/user` as its own root.
    pub(crate) fn home(&self) -> handle::Handle {
        handle::Handle::home(&self.tree)
    }
}

impl std::fmt::Debug for Vfs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vfs").field("usage", &self.usage()).finish()
    }
}
