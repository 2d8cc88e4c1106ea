//! An open node. It stays alive until the handle is dropped, whatever happens to its name.
//!
//! Does not check access modes; the WASI side does.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::{
    FsError,
    node::{Body, Kind, NodeId, Stat},
    path,
    tree::Tree,
};

pub(crate) type Shared = Arc<Mutex<Tree>>;

pub(crate) struct Handle {
    tree: Shared,
    id: NodeId,
    /// False for the root that every sandbox starts with, which does not count as an open file.
    counted: bool,
}

/// The flags of `open-at` that matter to the tree.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OpenMode {
    pub(crate) follow: bool,
    pub(crate) write: bool,
    pub(crate) create: bool,
    pub(crate) exclusive: bool,
    pub(crate) truncate: bool,
    pub(crate) folder: bool,
}

impl Handle {
    pub(crate) fn root(tree: &Shared) -> Self {
        Self { tree: Arc::clone(tree), id: NodeId::ROOT, counted: false }
    }

    /// Only `/home/user`, with no path out of it.
    pub(crate) fn home(tree: &Shared) -> Self {
        Self { tree: Arc::clone(tree), id: NodeId::HOME, counted: false }
    }

    pub(crate) fn open(&self, path: &str, mode: OpenMode) -> Result<Self, FsError> {
        if mode.folder && (mode.create || mode.exclusive || mode.truncate) {
            return Err(FsError::Invalid);
        }
        let mut tree = self.tree.lock();
        let exclusive = mode.create && mode.exclusive;
        let found = path::resolve(&tree, self.id, path, mode.follow && !exclusive)?;
        let id = match found.node {
            Some(_) if exclusive => return Err(FsError::Exist),
            Some(id) => {
                match tree.kind(id).ok_or(FsError::NoEntry)? {
                    Kind::Link => return Err(FsError::Loop),
                    Kind::Folder if mode.write || mode.truncate || mode.create => return Err(FsError::IsFolder),
                    Kind::File if mode.folder => return Err(FsError::NotFolder),
                    Kind::File if (mode.write || mode.truncate) && (tree.read_only || id.mount_index().is_some()) => {
                        return Err(FsError::ReadOnly);
                    }
                    _ => {}
                }
                tree.pin(id)?;
                id
            }
            None if !mode.create => return Err(FsError::NoEntry),
            None if found.slash => return Err(FsError::IsFolder),
            None => {
                let id = tree.create(found.folder, &found.name, Body::File(Default::default()))?;
                if let Err(error) = tree.pin(id) {
                    tree.unlink(&path::Found { node: Some(id), ..found })?;
                    return Err(error);
                }
                id
            }
        };
        let handle = Self { tree: Arc::clone(&self.tree), id, counted: true };
        let cut = if mode.truncate { tree.set_len(id, 0) } else { Ok(()) };
        drop(tree);
        cut.map(|()| handle)
    }

    pub(crate) fn kind(&self) -> Result<Kind, FsError> {
        self.tree.lock().kind(self.id).ok_or(FsError::NoEntry)
    }

    pub(crate) fn stat(&self) -> Result<Stat, FsError> {
        self.tree.lock().stat(self.id)
    }

    pub(crate) fn stat_at(&self, path: &str, follow: bool) -> Result<Stat, FsError> {
        let tree = self.tree.lock();
        let id = path::resolve(&tree, self.id, path, follow)?.node.ok_or(FsError::NoEntry)?;
        tree.stat(id)
    }

    pub(crate) fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, FsError> {
        self.tree.lock().read(self.id, offset, len)
    }

    pub(crate) fn write(&self, offset: Option<u64>, bytes: &[u8]) -> Result<(usize, u64), FsError> {
        self.tree.lock().write(self.id, offset, bytes)
    }

    pub(crate) fn set_len(&self, len: u64) -> Result<(), FsError> {
        self.tree.lock().set_len(self.id, len)
    }

    pub(crate) fn set_times(&self, accessed: Option<Duration>, modified: Option<Duration>) -> Result<(), FsError> {
        self.tree.lock().set_times(self.id, accessed, modified)
    }

    pub(crate) fn set_times_at(
        &self,
        path: &str,
        follow: bool,
        accessed: Option<Duration>,
        modified: Option<Duration>,
    ) -> Result<(), FsError> {
        let mut tree = self.tree.lock();
        let id = path::resolve(&tree, self.id, path, follow)?.node.ok_or(FsError::NoEntry)?;
        tree.set_times(id, accessed, modified)
    }

    pub(crate) fn now(&self) -> Duration {
        self.tree.lock().base.clock.now()
    }

    pub(crate) fn create_folder(&self, path: &str) -> Result<(), FsError> {
        self.create(path, Body::Folder(Default::default()), true)
    }

    pub(crate) fn symlink(&self, target: &str, path: &str) -> Result<(), FsError> {
        match target {
            "" => return Err(FsError::NoEntry),
            _ if target.starts_with('/') => return Err(FsError::NotPermitted),
            _ if target.len() > super::PATH_BYTES => return Err(FsError::NameTooLong),
            _ if target.contains('\0') => return Err(FsError::Invalid),
            _ => {}
        }
        self.create(path, Body::Link(target.into()), false)
    }

    fn create(&self, path: &str, body: Body, slash: bool) -> Result<(), FsError> {
        let mut tree = self.tree.lock();
        let found = path::resolve_name(&tree, self.id, path)?;
        match found.node {
            Some(_) => Err(FsError::Exist),
            None if found.slash && !slash => Err(FsError::NoEntry),
            None => tree.create(found.folder, &found.name, body).map(drop),
        }
    }

    pub(crate) fn readlink(&self, path: &str) -> Result<String, FsError> {
        let tree = self.tree.lock();
        let id = path::resolve(&tree, self.id, path, false)?.node.ok_or(FsError::NoEntry)?;
        tree.target(id).map(str::to_owned).ok_or(FsError::Invalid)
    }

    pub(crate) fn unlink(&self, path: &str) -> Result<(), FsError> {
        let mut tree = self.tree.lock();
        let found = path::resolve_name(&tree, self.id, path)?;
        tree.unlink(&found)
    }

    pub(crate) fn remove_folder(&self, path: &str) -> Result<(), FsError> {
        let mut tree = self.tree.lock();
        let found = path::resolve_name(&tree, self.id, path)?;
        tree.remove_folder(&found)
    }

    pub(crate) fn rename(&self, from: &str, to_base: &Self, to: &str) -> Result<(), FsError> {
        if !Arc::ptr_eq(&self.tree, &to_base.tree) {
            return Err(FsError::CrossDevice);
        }
        let mut tree = self.tree.lock();
        let from = path::resolve_name(&tree, self.id, from)?;
        let to = path::resolve_name(&tree, to_base.id, to)?;
        tree.rename(&from, &to)
    }

    /// The entry that follows the given name.
    pub(crate) fn next_entry(&self, after: Option<&str>) -> Option<(String, Kind)> {
        let tree = self.tree.lock();
        let (name, id) = tree.next_entry(self.id, after)?;
        Some((name.to_owned(), tree.kind(id)?))
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        // Both are pinned, so neither id can have been reused.
        self.id == other.id && Arc::ptr_eq(&self.tree, &other.tree)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.counted {
            self.tree.lock().unpin(self.id);
        }
    }
}
