//! What the tree is made of: ids, and the nodes of the writable folders.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::content::Content;

/// A place in the tree: a node of the mounts, or of the sandbox's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(u32);

const MOUNTED: u32 = 1 << 31;

impl NodeId {
    /// `/`
    pub(crate) const ROOT: Self = Self(MOUNTED);
    /// `/home`: the first that the mounts make.
    pub(crate) const HOMES: Self = Self(MOUNTED | 1);
    /// `/home/user`
    pub(crate) const HOME: Self = Self(0);
    /// `/tmp`
    pub(crate) const TMP: Self = Self(1);

    pub(crate) fn own(index: usize) -> Self {
        Self(index as u32 & !MOUNTED)
    }

    pub(crate) fn mounted(index: usize) -> Self {
        Self(index as u32 | MOUNTED)
    }

    pub(crate) fn mount_index(self) -> Option<usize> {
        (self.0 & MOUNTED != 0).then_some((self.0 & !MOUNTED) as usize)
    }

    pub(crate) fn own_index(self) -> Option<usize> {
        (self.0 & MOUNTED == 0).then_some(self.0 as usize)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Never used twice in the life of a sandbox, unlike an id.
    pub(crate) serial: u64,
    pub(crate) parent: NodeId,
    pub(crate) body: Body,
    pub(crate) times: Times,
    /// The epoch in which it was made, moved or written last: see `Tree::mark`.
    pub(crate) touched: u64,
    /// False once it was removed; it lives on while it is open.
    pub(crate) linked: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Folder(BTreeMap<Arc<str>, NodeId>),
    File(Content),
    Link(Arc<str>),
}

impl Body {
    /// What it counts for in the quota of bytes.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Folder(_) => 0,
            Self::File(content) => content.len(),
            Self::Link(target) => target.len() as u64,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Folder(_) => Kind::Folder,
            Self::File(_) => Kind::File,
            Self::Link(_) => Kind::Link,
        }
    }
}

/// All since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) accessed: Duration,
    pub(crate) modified: Duration,
    pub(crate) changed: Duration,
}

impl Times {
    pub(crate) fn all(now: Duration) -> Self {
        Self { accessed: now, modified: now, changed: now }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Folder,
    File,
    Link,
}

/// What a sandbox may know of a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stat {
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) links: u64,
    pub(crate) times: Times,
    /// Distinct for distinct nodes, the same for as long as the node lives.
    pub(crate) serial: u64,
}
