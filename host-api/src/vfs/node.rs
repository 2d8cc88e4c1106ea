//! The parts of the tree: ids, and the nodes of the writable folders.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::content::Content;

/// A location in the tree: a mounted node, or one of the sandbox's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(u32);

const MOUNTED: u32 = 1 << 31;

impl NodeId {
    /// `/`
    pub(crate) const ROOT: Self = Self(MOUNTED);
    /// `/home`: the first node that the mounts create.
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

/// Host memory of a node without its name.
pub(crate) const NODE_BYTES: u64 = 512;

#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Never reused in the life of a sandbox, unlike an id.
    pub(crate) serial: u64,
    pub(crate) parent: NodeId,
    pub(crate) body: Body,
    pub(crate) times: Times,
    /// The epoch in which it was last created, moved or written: see `Tree::mark`.
    pub(crate) touched: u64,
    /// Bytes of its name.
    pub(crate) name_len: u16,
    /// False once removed. It lives on while it is open.
    pub(crate) linked: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Folder(BTreeMap<Arc<str>, NodeId>),
    File(Content),
    Link(Arc<str>),
}

impl Node {
    /// Host memory besides a file's content, charged to the process-wide budget: names and targets count too.
    pub(crate) fn charge(&self) -> u64 {
        let target = match &self.body {
            Body::Link(target) => target.len() as u64,
            Body::Folder(_) | Body::File(_) => 0,
        };
        NODE_BYTES + u64::from(self.name_len) + target
    }
}

impl Body {
    /// Its size for the byte quota.
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

/// Times since 1970.
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
pub(crate) enum Kind {
    Folder,
    File,
    Link,
}

/// The metadata that a sandbox may see.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stat {
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) links: u64,
    pub(crate) times: Times,
    /// Unique among nodes, and constant for the life of one.
    pub(crate) serial: u64,
}
