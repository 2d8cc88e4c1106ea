//! A file as it was when it was opened, read in pieces by the host: to answer with a long file without copying it whole.
//!
//! Shares the file's bytes with the sandbox, which may write, remove or end meanwhile. What is shared stays charged to the
//! process-wide budget.

use std::sync::Arc;

use super::{
    FsError, MountBytes,
    node::{Body, Node, NodeId},
    tree::Tree,
};

/// A file's content at one moment.
pub struct FileView(Source);

enum Source {
    Own(Arc<Node>),
    Mounted(MountBytes),
}

impl FileView {
    pub(super) fn open(tree: &Tree, id: NodeId) -> Result<Self, FsError> {
        if let Some(node) = tree.base.mounts.node(id) {
            return node.bytes.clone().map(|bytes| Self(Source::Mounted(bytes))).ok_or(FsError::IsFolder);
        }
        let node = tree.shared_node(id).ok_or(FsError::NoEntry)?;
        match &node.body {
            Body::File(_) => Ok(Self(Source::Own(node))),
            Body::Folder(_) => Err(FsError::IsFolder),
            Body::Link(_) => Err(FsError::Invalid),
        }
    }

    /// The file's length, holes included.
    pub fn size(&self) -> u64 {
        match &self.0 {
            Source::Own(node) => node.body.bytes(),
            Source::Mounted(bytes) => (**bytes).as_ref().len() as u64,
        }
    }

    /// Up to `len` bytes from `offset`. Fewer only at the end of the file.
    pub fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let rest = usize::try_from(self.size().saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = len.min(rest);
        match &self.0 {
            Source::Own(node) => {
                let mut out = Vec::with_capacity(len);
                if let Body::File(content) = &node.body {
                    content.read(offset, len, &mut out);
                }
                out
            }
            Source::Mounted(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                (**bytes).as_ref().get(start..start.saturating_add(len)).unwrap_or_default().to_vec()
            }
        }
    }
}

impl std::fmt::Debug for FileView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileView").field("size", &self.size()).finish()
    }
}
