//! The state of one file system: its nodes over the mounts, their cost, and the bytes of its files.
//!
//! Takes ids, not paths. `change` adds, moves and removes nodes.

use std::{sync::Arc, time::Duration};

use cofferdam_contract::LimitName;

use super::{
    Base, FsError, Quota,
    budget::Lease,
    content::Content,
    mounts,
    node::{Body, Kind, NODE_BYTES, Node, NodeId, Stat, Times},
};

const MOUNT_SERIAL: u64 = 1 << 63;

pub(crate) struct Tree {
    pub(crate) base: Arc<Base>,
    pub(crate) quota: Quota,
    pub(crate) slots: Vec<Slot>,
    pub(crate) free: Vec<usize>,
    pub(crate) next_serial: u64,
    /// Bytes counted against the quota.
    pub(crate) bytes: u64,
    pub(crate) files: u64,
    pub(crate) open: u64,
    pub(crate) exceeded: Option<LimitName>,
    pub(crate) epoch: u64,
    /// A change counter. Equal counts mean equal trees.
    pub(crate) changes: u64,
    pub(crate) read_only: bool,
    pub(crate) lease: Lease,
}

#[derive(Default)]
pub(crate) struct Slot {
    pub(crate) node: Option<Arc<Node>>,
    /// Open descriptors and streams.
    pub(crate) pins: u32,
}

impl Tree {
    pub(crate) fn new(base: Arc<Base>, quota: Quota) -> Result<Self, FsError> {
        let now = base.clock.now();
        let lease = Lease::new(&base.budget, 2 * NODE_BYTES)?;
        let root = |serial, parent| Slot {
            node: Some(Arc::new(Node {
                serial,
                parent,
                body: Body::Folder(Default::default()),
                times: Times::all(now),
                touched: 0,
                name_len: 0,
                linked: true,
            })),
            pins: 0,
        };
        Ok(Self {
            base,
            quota,
            slots: vec![root(1, NodeId::HOMES), root(2, NodeId::ROOT)],
            free: Vec::new(),
            next_serial: 3,
            bytes: 0,
            files: 0,
            open: 0,
            exceeded: None,
            epoch: 0,
            changes: 0,
            read_only: false,
            lease,
        })
    }

    /// A copy that shares the contents. Removed but open nodes are not copied.
    pub(crate) fn fork(&self, quota: Quota) -> Result<Self, FsError> {
        let mut fork = Self {
            base: Arc::clone(&self.base),
            quota,
            slots: self.slots.iter().map(|slot| Slot { node: slot.node.clone(), pins: 0 }).collect(),
            free: self.free.clone(),
            next_serial: self.next_serial,
            bytes: self.bytes,
            files: self.files,
            open: 0,
            exceeded: None,
            epoch: self.epoch,
            changes: self.changes,
            read_only: self.read_only,
            lease: Lease::new(&self.base.budget, self.lease.bytes())?,
        };
        for (index, slot) in self.slots.iter().enumerate() {
            if slot.pins > 0 {
                fork.sweep(NodeId::own(index));
            }
        }
        if fork.bytes > quota.disk_bytes || fork.files > quota.files {
            return Err(FsError::Quota);
        }
        Ok(fork)
    }

    pub(crate) fn node(&self, id: NodeId) -> Option<&Node> {
        self.slots.get(id.own_index()?)?.node.as_deref()
    }

    /// A node that stays as it is: the next change copies it.
    pub(crate) fn shared_node(&self, id: NodeId) -> Option<Arc<Node>> {
        self.slots.get(id.own_index()?)?.node.clone()
    }

    /// A node to modify. Fails for mounted nodes.
    pub(crate) fn node_mut(&mut self, id: NodeId) -> Result<&mut Node, FsError> {
        let index = id.own_index().filter(|_| !self.read_only).ok_or(FsError::ReadOnly)?;
        self.changes += 1;
        self.slots.get_mut(index).and_then(|slot| slot.node.as_mut()).map(Arc::make_mut).ok_or(FsError::NoEntry)
    }

    pub(crate) fn kind(&self, id: NodeId) -> Option<Kind> {
        match id.mount_index() {
            Some(_) => {
                let node = self.base.mounts.node(id)?;
                Some(if node.bytes.is_some() { Kind::File } else { Kind::Folder })
            }
            None => self.node(id).map(|node| node.body.kind()),
        }
    }

    /// True if a path may continue below this node: a folder, or a mounted file with something mounted inside.
    pub(crate) fn has_inside(&self, id: NodeId) -> bool {
        match self.base.mounts.node(id) {
            Some(node) => node.bytes.is_none() || !node.children.is_empty(),
            None => self.kind(id) == Some(Kind::Folder),
        }
    }

    pub(crate) fn parent(&self, id: NodeId) -> Option<NodeId> {
        match id.mount_index() {
            Some(_) => self.base.mounts.node(id)?.parent,
            None => self.node(id).map(|node| node.parent),
        }
    }

    pub(crate) fn lookup(&self, folder: NodeId, name: &str) -> Option<NodeId> {
        match id_of(folder) {
            Side::Mounts => self.base.mounts.node(folder)?.children.get(name).copied(),
            Side::Own => match &self.node(folder)?.body {
                Body::Folder(children) => children.get(name).copied(),
                _ => None,
            },
        }
    }

    /// The first entry whose name comes after `after`. This cursor stays valid whatever changes in the folder.
    pub(crate) fn next_entry(&self, folder: NodeId, after: Option<&str>) -> Option<(&str, NodeId)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        match id_of(folder) {
            Side::Mounts => {
                let children = &self.base.mounts.node(folder)?.children;
                children.range::<str, _>((from, Unbounded)).next().map(|(name, id)| (&**name, *id))
            }
            Side::Own => match &self.node(folder)?.body {
                Body::Folder(children) => {
                    children.range::<str, _>((from, Unbounded)).next().map(|(name, id)| (&**name, *id))
                }
                _ => None,
            },
        }
    }

    pub(crate) fn target(&self, id: NodeId) -> Option<&str> {
        match &self.node(id)?.body {
            Body::Link(target) => Some(target),
            _ => None,
        }
    }

    pub(crate) fn stat(&self, id: NodeId) -> Result<Stat, FsError> {
        if let Some(index) = id.mount_index() {
            let node = self.base.mounts.node(id).ok_or(FsError::NoEntry)?;
            let size = node.bytes.as_ref().map(|bytes| (**bytes).as_ref().len() as u64);
            return Ok(Stat {
                kind: if size.is_some() { Kind::File } else { Kind::Folder },
                size: size.unwrap_or(0),
                links: 1,
                times: Times::all(mounts::MODIFIED),
                serial: MOUNT_SERIAL | index as u64,
            });
        }
        let node = self.node(id).ok_or(FsError::NoEntry)?;
        Ok(Stat {
            kind: node.body.kind(),
            size: node.body.bytes(),
            links: u64::from(node.linked),
            times: node.times,
            serial: node.serial,
        })
    }

    pub(crate) fn read(&self, id: NodeId, offset: u64, len: usize) -> Result<Vec<u8>, FsError> {
        let size = self.stat(id)?.size;
        let len = len.min(usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX));
        if let Some(node) = self.base.mounts.node(id) {
            let bytes = node.bytes.as_ref().ok_or(FsError::IsFolder)?;
            let bytes: &[u8] = (**bytes).as_ref();
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            return Ok(bytes.get(start..start + len).unwrap_or_default().to_vec());
        }
        match &self.node(id).ok_or(FsError::NoEntry)?.body {
            Body::File(content) => {
                let mut out = Vec::with_capacity(len);
                content.read(offset, len, &mut out);
                Ok(out)
            }
            Body::Folder(_) => Err(FsError::IsFolder),
            Body::Link(_) => Err(FsError::Invalid),
        }
    }

    /// Writes at `offset`, or at the end if `None`. Returns the bytes written and their position.
    pub(crate) fn write(&mut self, id: NodeId, offset: Option<u64>, bytes: &[u8]) -> Result<(usize, u64), FsError> {
        let now = self.base.clock.now();
        let epoch = self.epoch;
        let base = Arc::clone(&self.base);
        let len = self.file(id)?.len();
        let offset = offset.unwrap_or(len);
        let end = offset.checked_add(bytes.len() as u64).ok_or(FsError::FileTooLarge)?;
        if bytes.is_empty() {
            return Ok((0, offset));
        }
        self.check_room(end.saturating_sub(len))?;
        let node = self.node_mut(id)?;
        let Body::File(content) = &mut node.body else { return Err(FsError::IsFolder) };
        let written = content.write(offset, bytes, &base.budget);
        let grown = content.len() - len;
        node.times.modified = now;
        node.times.changed = now;
        node.touched = epoch;
        self.bytes += grown;
        self.noting_space(written).map(|written| (written, offset))
    }

    pub(crate) fn set_len(&mut self, id: NodeId, new: u64) -> Result<(), FsError> {
        let now = self.base.clock.now();
        let epoch = self.epoch;
        let base = Arc::clone(&self.base);
        let len = self.file(id)?.len();
        self.check_room(new.saturating_sub(len))?;
        let node = self.node_mut(id)?;
        let Body::File(content) = &mut node.body else { return Err(FsError::IsFolder) };
        let done = content.set_len(new, &base.budget);
        let after = content.len();
        node.times.modified = now;
        node.times.changed = now;
        node.touched = epoch;
        self.bytes = self.bytes - len + after;
        self.noting_space(done)
    }

    /// Replaces a file's content, all or nothing.
    pub(crate) fn replace(&mut self, id: NodeId, bytes: &[u8]) -> Result<(), FsError> {
        let len = self.file(id)?.len();
        self.check_room((bytes.len() as u64).saturating_sub(len))?;
        let content = Content::from_bytes(bytes, &self.base.budget);
        let content = self.noting_space(content)?;
        self.set_len(id, 0)?;
        self.bytes += content.len();
        self.node_mut(id)?.body = Body::File(content);
        Ok(())
    }

    pub(crate) fn set_times(
        &mut self,
        id: NodeId,
        accessed: Option<Duration>,
        modified: Option<Duration>,
    ) -> Result<(), FsError> {
        let now = self.base.clock.now();
        let times = &mut self.node_mut(id)?.times;
        times.accessed = accessed.unwrap_or(times.accessed);
        times.modified = modified.unwrap_or(times.modified);
        times.changed = now;
        Ok(())
    }

    fn file(&self, id: NodeId) -> Result<&Content, FsError> {
        if id.mount_index().is_some() {
            return Err(FsError::ReadOnly);
        }
        match &self.node(id).ok_or(FsError::NoEntry)?.body {
            Body::File(content) => Ok(content),
            Body::Folder(_) => Err(FsError::IsFolder),
            Body::Link(_) => Err(FsError::Invalid),
        }
    }

    /// Checks that the quota has room for `more` bytes. A hole counts as if it were filled.
    pub(crate) fn check_room(&mut self, more: u64) -> Result<(), FsError> {
        match self.bytes.checked_add(more) {
            Some(sum) if sum <= self.quota.disk_bytes => Ok(()),
            _ => {
                self.exceeded = Some(LimitName::DiskBytes);
                Err(FsError::NoSpace)
            }
        }
    }

    pub(crate) fn noting_space<T>(&mut self, result: Result<T, FsError>) -> Result<T, FsError> {
        if matches!(result, Err(FsError::NoSpace)) {
            self.exceeded = Some(LimitName::DiskBytes);
        }
        result
    }
}

enum Side {
    Mounts,
    Own,
}

fn id_of(id: NodeId) -> Side {
    if id.mount_index().is_some() { Side::Mounts } else { Side::Own }
}
