//! Changes to the tree: create, remove, rename, and keeping removed nodes alive while they are open.

use std::sync::Arc;

use cofferdam_contract::LimitName;

use super::{
    FsError, MAX_DEPTH,
    node::{Body, Kind, Node, NodeId, Times},
    path::{self, Found},
    tree::{Slot, Tree},
};

/// The bytes of a checked name.
fn len_of(name: &str) -> u16 {
    u16::try_from(name.len()).unwrap_or(u16::MAX)
}

impl Tree {
    pub(crate) fn create(&mut self, folder: NodeId, name: &str, body: Body) -> Result<NodeId, FsError> {
        path::check_name(name)?;
        let parent = self.node_mut(folder)?;
        if !parent.linked {
            return Err(FsError::NoEntry);
        }
        if !matches!(parent.body, Body::Folder(_)) {
            return Err(FsError::NotFolder);
        }
        if self.depth(folder) + 1 > MAX_DEPTH {
            return Err(FsError::NameTooLong);
        }
        if self.files >= self.quota.files {
            self.exceeded = Some(LimitName::Files);
            return Err(FsError::Quota);
        }
        let bytes = body.bytes();
        self.check_room(bytes)?;
        let now = self.base.clock.now();
        let node = Node {
            serial: self.next_serial,
            parent: folder,
            body,
            times: Times::all(now),
            touched: self.epoch,
            name_len: len_of(name),
            linked: true,
        };
        let grown = self.lease.grow(node.charge());
        self.noting_space(grown)?;
        self.next_serial += 1;
        self.files += 1;
        self.bytes += bytes;
        let slot = Slot { node: Some(Arc::new(node)), pins: 0 };
        let id = match self.free.pop() {
            Some(index) => {
                if let Some(place) = self.slots.get_mut(index) {
                    *place = slot;
                }
                NodeId::own(index)
            }
            None => {
                self.slots.push(slot);
                NodeId::own(self.slots.len() - 1)
            }
        };
        self.enter(folder, name.into(), id)?;
        Ok(id)
    }

    /// Removes a file or a symlink.
    pub(crate) fn unlink(&mut self, found: &Found) -> Result<(), FsError> {
        let id = found.node.ok_or(FsError::NoEntry)?;
        match self.kind(id) {
            Some(Kind::Folder) => return Err(FsError::IsFolder),
            _ if found.slash => return Err(FsError::NotFolder),
            _ => {}
        }
        self.detach(found, id)
    }

    pub(crate) fn remove_folder(&mut self, found: &Found) -> Result<(), FsError> {
        let id = found.node.ok_or(FsError::NoEntry)?;
        if self.kind(id) != Some(Kind::Folder) {
            return Err(FsError::NotFolder);
        }
        if id.mount_index().is_none() && self.next_entry(id, None).is_some() {
            return Err(FsError::NotEmpty);
        }
        self.detach(found, id)
    }

    /// Moves `from` to `to`. A file may replace a file, and a folder an empty folder.
    pub(crate) fn rename(&mut self, from: &Found, to: &Found) -> Result<(), FsError> {
        let id = from.node.ok_or(FsError::NoEntry)?;
        if from.name.is_empty() || to.name.is_empty() {
            return Err(FsError::Busy);
        }
        if [from.folder, to.folder, id].iter().any(|id| id.mount_index().is_some()) {
            return Err(FsError::ReadOnly);
        }
        if id == NodeId::HOME || id == NodeId::TMP {
            return Err(FsError::Busy);
        }
        path::check_name(&to.name)?;
        let is_folder = self.kind(id) == Some(Kind::Folder);
        if !is_folder && (from.slash || to.slash) {
            return Err(FsError::NotFolder);
        }
        if to.node == Some(id) {
            return Ok(());
        }
        if !self.node(to.folder).is_some_and(|folder| folder.linked) {
            return Err(FsError::NoEntry);
        }
        if is_folder && self.is_inside(to.folder, id) {
            return Err(FsError::Invalid);
        }
        if to.folder != from.folder && self.depth(to.folder) + self.height(id) > MAX_DEPTH {
            return Err(FsError::NameTooLong);
        }
        let (before, after) = (self.node(id).map_or(0, |node| node.name_len), len_of(&to.name));
        let grown = self.lease.grow(u64::from(after.saturating_sub(before)));
        self.noting_space(grown)?;
        let moved = self.replace_entry(from, to, id, is_folder);
        // A move that failed leaves the old name.
        let (larger, smaller) = if moved.is_ok() { (before, after) } else { (after, before) };
        self.lease.shrink(u64::from(larger.saturating_sub(smaller)));
        moved
    }

    /// The move itself, after its checks and within the budget.
    fn replace_entry(&mut self, from: &Found, to: &Found, id: NodeId, is_folder: bool) -> Result<(), FsError> {
        if let Some(old) = to.node {
            match (is_folder, self.kind(old) == Some(Kind::Folder)) {
                (true, false) => return Err(FsError::NotFolder),
                (false, true) => return Err(FsError::IsFolder),
                (true, true) => self.remove_folder(to)?,
                (false, false) => self.detach(to, old)?,
            }
        }
        self.leave(from.folder, &from.name)?;
        self.enter(to.folder, to.name.as_str().into(), id)?;
        let (now, epoch) = (self.base.clock.now(), self.epoch);
        let node = self.node_mut(id)?;
        node.parent = to.folder;
        node.name_len = len_of(&to.name);
        node.touched = epoch;
        node.times.changed = now;
        Ok(())
    }

    /// Removes a node with everything in it.
    pub(crate) fn remove_all(&mut self, found: &Found) -> Result<(), FsError> {
        let id = found.node.ok_or(FsError::NoEntry)?;
        while let Some((name, child)) = self.next_entry(id, None).map(|(name, child)| (name.to_owned(), child)) {
            // The recursion is bounded by MAX_DEPTH.
            self.remove_all(&Found { folder: id, name, node: Some(child), slash: false })?;
        }
        self.detach(found, id)
    }

    fn detach(&mut self, found: &Found, id: NodeId) -> Result<(), FsError> {
        if found.folder.mount_index().is_some() || id.mount_index().is_some() {
            return Err(FsError::ReadOnly);
        }
        if found.name.is_empty() {
            return Err(FsError::Busy);
        }
        self.leave(found.folder, &found.name)?;
        let now = self.base.clock.now();
        let node = self.node_mut(id)?;
        node.linked = false;
        node.times.changed = now;
        self.sweep(id);
        Ok(())
    }

    pub(crate) fn enter(&mut self, folder: NodeId, name: Arc<str>, id: NodeId) -> Result<(), FsError> {
        let now = self.base.clock.now();
        let node = self.node_mut(folder)?;
        node.times.modified = now;
        node.times.changed = now;
        match &mut node.body {
            Body::Folder(children) => children.insert(name, id),
            _ => return Err(FsError::NotFolder),
        };
        Ok(())
    }

    fn leave(&mut self, folder: NodeId, name: &str) -> Result<(), FsError> {
        let now = self.base.clock.now();
        let node = self.node_mut(folder)?;
        node.times.modified = now;
        node.times.changed = now;
        match &mut node.body {
            Body::Folder(children) => children.remove(name),
            _ => return Err(FsError::NotFolder),
        };
        Ok(())
    }

    /// Frees a node that is neither linked nor open.
    pub(crate) fn sweep(&mut self, id: NodeId) {
        let Some(slot) = id.own_index().and_then(|index| self.slots.get_mut(index)) else { return };
        if slot.pins > 0 || slot.node.as_ref().is_none_or(|node| node.linked) {
            return;
        }
        if let Some(node) = slot.node.take() {
            self.bytes -= node.body.bytes().min(self.bytes);
            self.files = self.files.saturating_sub(1);
            self.lease.shrink(node.charge());
            self.free.extend(id.own_index());
        }
    }

    pub(crate) fn pin(&mut self, id: NodeId) -> Result<(), FsError> {
        if self.open >= self.quota.open_files {
            self.exceeded = Some(LimitName::OpenFiles);
            return Err(FsError::TooManyOpen);
        }
        self.open += 1;
        if let Some(slot) = id.own_index().and_then(|index| self.slots.get_mut(index)) {
            slot.pins += 1;
        }
        Ok(())
    }

    pub(crate) fn unpin(&mut self, id: NodeId) {
        self.open = self.open.saturating_sub(1);
        if let Some(slot) = id.own_index().and_then(|index| self.slots.get_mut(index)) {
            slot.pins = slot.pins.saturating_sub(1);
            self.sweep(id);
        }
    }

    /// The number of folders between a node and its writable root.
    fn depth(&self, mut id: NodeId) -> usize {
        let mut depth = 0;
        while id != NodeId::HOME && id != NodeId::TMP && depth <= MAX_DEPTH {
            depth += 1;
            match self.node(id) {
                Some(node) => id = node.parent,
                None => break,
            }
        }
        depth
    }

    /// The number of levels of a node and its contents.
    fn height(&self, id: NodeId) -> usize {
        match self.node(id).map(|node| &node.body) {
            Some(Body::Folder(children)) => 1 + children.values().map(|child| self.height(*child)).max().unwrap_or(0),
            _ => 1,
        }
    }

    fn is_inside(&self, mut id: NodeId, folder: NodeId) -> bool {
        while id.own_index().is_some() {
            if id == folder {
                return true;
            }
            match self.parent(id) {
                Some(parent) => id = parent,
                None => return false,
            }
        }
        false
    }
}
