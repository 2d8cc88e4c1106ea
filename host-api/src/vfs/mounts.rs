//! The read-only files that every sandbox of a kernel sees, over shared bytes.
//!
//! Built once per kernel. Never copies a file's bytes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{FsError, MAX_DEPTH, node::NodeId, path};

/// The bytes of a read-only file, such as a mapping of one of the kernel's files.
pub type MountBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// The modification time of all mounted files (2020-01-01). It is fixed to keep images reproducible.
pub(crate) const MODIFIED: Duration = Duration::from_secs(1_577_836_800);

/// The read-only part of a sandbox's tree. Always contains `/home/user` and `/tmp`, where the writable parts are.
pub struct Mounts {
    nodes: Vec<MountNode>,
}

#[derive(Default)]
pub(crate) struct MountNode {
    pub(crate) parent: Option<NodeId>,
    /// A node with bytes is a file. It may still have children: a folder can be mounted "inside" an archive.
    pub(crate) bytes: Option<MountBytes>,
    pub(crate) children: BTreeMap<Box<str>, NodeId>,
}

impl Default for Mounts {
    fn default() -> Self {
        Self::new()
    }
}

impl Mounts {
    pub fn new() -> Self {
        let mut mounts = Self { nodes: vec![MountNode::default()] };
        for (folder, name, root) in [("home", "user", NodeId::HOME), ("", "tmp", NodeId::TMP)] {
            let parent = mounts.ensure(folder).unwrap_or(NodeId::ROOT);
            if let Some(node) = mounts.node_mut(parent) {
                node.children.insert(name.into(), root);
            }
        }
        mounts
    }

    /// Mounts a file at an absolute path and creates its parent folders.
    ///
    /// # Errors
    /// [`FsError::Invalid`] unless the path is absolute and normalized, [`FsError::Exist`] if there is a file already,
    /// and [`FsError::ReadOnly`] inside the writable folders.
    pub fn add_file(&mut self, path: &str, bytes: MountBytes) -> Result<(), FsError> {
        let id = self.ensure(path.strip_prefix('/').ok_or(FsError::Invalid)?)?;
        let node = self.node_mut(id).filter(|_| id != NodeId::ROOT).ok_or(FsError::Invalid)?;
        if node.bytes.is_some() {
            return Err(FsError::Exist);
        }
        node.bytes = Some(bytes);
        Ok(())
    }

    /// Mounts an empty folder at an absolute path, unless there is one. Errors as for [`Self::add_file`].
    pub fn add_folder(&mut self, path: &str) -> Result<(), FsError> {
        self.ensure(path.strip_prefix('/').ok_or(FsError::Invalid)?).map(drop)
    }

    pub(crate) fn node(&self, id: NodeId) -> Option<&MountNode> {
        self.nodes.get(id.mount_index()?)
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut MountNode> {
        self.nodes.get_mut(id.mount_index()?)
    }

    fn ensure(&mut self, path: &str) -> Result<NodeId, FsError> {
        let mut at = NodeId::ROOT;
        for (depth, name) in path.split('/').filter(|name| !name.is_empty()).enumerate() {
            path::check_name(name).map_err(|_| FsError::Invalid)?;
            if depth >= MAX_DEPTH {
                return Err(FsError::Invalid);
            }
            let next = NodeId::mounted(self.nodes.len());
            let node = self.node_mut(at).ok_or(FsError::ReadOnly)?;
            if let Some(child) = node.children.get(name) {
                at = *child;
                continue;
            }
            node.children.insert(name.into(), next);
            self.nodes.push(MountNode { parent: Some(at), ..MountNode::default() });
            at = next;
        }
        if at.mount_index().is_none() { Err(FsError::ReadOnly) } else { Ok(at) }
    }
}

impl std::fmt::Debug for Mounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mounts").field("nodes", &self.nodes.len()).finish()
    }
}
