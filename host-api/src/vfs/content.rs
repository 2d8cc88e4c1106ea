//! The bytes of one file, in chunks that copies share until one of them writes.
//!
//! Does not check the sandbox's quota; the tree does so before it writes. Charges the process-wide budget only for
//! allocated bytes, so holes are free there.

use std::sync::Arc;

use super::{
    FsError,
    budget::{Budget, Lease},
};

pub(crate) const CHUNK: usize = 64 << 10;
const MIN_CAPACITY: usize = 64;
/// The longest file, whatever the quota. Bounds the table of chunks.
pub(crate) const MAX_FILE: u64 = 64 << 30;

#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    len: u64,
    /// A missing chunk, and the missing end of a short one, read as zeros.
    chunks: Vec<Option<Arc<Chunk>>>,
}

#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    lease: Lease,
}

impl Chunk {
    fn with_room(budget: &Arc<Budget>, need: usize) -> Result<Self, FsError> {
        let room = room_for(need);
        let lease = Lease::new(budget, room as u64)?;
        Ok(Self { bytes: Vec::with_capacity(room), lease })
    }

    fn reserve(&mut self, need: usize) -> Result<(), FsError> {
        let room = room_for(need);
        if let Some(more) = (room as u64).checked_sub(self.lease.bytes()).filter(|more| *more > 0) {
            self.lease.grow(more)?;
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        Ok(())
    }

    fn write(&mut self, at: usize, bytes: &[u8]) -> Result<(), FsError> {
        let end = at + bytes.len();
        self.reserve(end)?;
        if at == self.bytes.len() {
            self.bytes.extend_from_slice(bytes);
            return Ok(());
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        if let Some(place) = self.bytes.get_mut(at..end) {
            place.copy_from_slice(bytes);
        }
        Ok(())
    }
}

fn room_for(need: usize) -> usize {
    need.next_power_of_two().clamp(MIN_CAPACITY, CHUNK)
}

/// The chunk of `offset`, and the position in it.
fn place(offset: u64) -> (usize, usize) {
    ((offset / CHUNK as u64) as usize, (offset % CHUNK as u64) as usize)
}

impl Content {
    pub(crate) fn from_bytes(bytes: &[u8], budget: &Arc<Budget>) -> Result<Self, FsError> {
        let mut content = Self::default();
        if content.write(0, bytes, budget)? < bytes.len() {
            return Err(FsError::NoSpace);
        }
        Ok(content)
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Appends up to `len` bytes from `offset` to `out`. Fewer only at the end of the file.
    pub(crate) fn read(&self, offset: u64, len: usize, out: &mut Vec<u8>) {
        let end = self.len.min(offset.saturating_add(len as u64));
        let mut at = offset;
        while at < end {
            let (index, start) = place(at);
            let want = ((CHUNK - start) as u64).min(end - at) as usize;
            let stored = self.stored(index);
            let from = stored.get(start.min(stored.len())..(start + want).min(stored.len())).unwrap_or_default();
            out.extend_from_slice(from);
            out.resize(out.len() + want - from.len(), 0);
            at += want as u64;
        }
    }

    /// The stored part of a chunk, without trailing zeros.
    pub(crate) fn stored(&self, index: usize) -> &[u8] {
        self.chunks.get(index).and_then(Option::as_ref).map_or(&[], |chunk| chunk.bytes.as_slice())
    }

    /// Writes at `offset`, which may lie beyond the end. Returns the bytes written: fewer than given only if the budget
    /// ran out.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8], budget: &Arc<Budget>) -> Result<usize, FsError> {
        if offset.saturating_add(bytes.len() as u64) > MAX_FILE {
            return Err(FsError::FileTooLarge);
        }
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            let at = offset + written as u64;
            let (index, start) = place(at);
            let part = rest.get(..(CHUNK - start).min(rest.len())).unwrap_or(rest);
            match self.chunk_mut(index, start + part.len(), budget).and_then(|chunk| chunk.write(start, part)) {
                Ok(()) => {}
                Err(error) if written == 0 => return Err(error),
                Err(_) => return Ok(written),
            }
            written += part.len();
            self.len = self.len.max(at + part.len() as u64);
        }
        Ok(written)
    }

    /// Truncates, or extends by a hole.
    pub(crate) fn set_len(&mut self, len: u64, budget: &Arc<Budget>) -> Result<(), FsError> {
        if len > MAX_FILE {
            return Err(FsError::FileTooLarge);
        }
        if len < self.len {
            let (index, start) = place(len);
            if start == 0 {
                self.chunks.truncate(index);
            } else if self.stored(index).len() > start {
                self.chunk_mut(index, start, budget)?.bytes.truncate(start);
            }
            self.chunks.truncate(index + 1);
        }
        self.len = len;
        Ok(())
    }

    /// An unshared chunk with room for `need` bytes.
    fn chunk_mut(&mut self, index: usize, need: usize, budget: &Arc<Budget>) -> Result<&mut Chunk, FsError> {
        if self.chunks.len() <= index {
            self.chunks.resize(index + 1, None);
        }
        let slot = self.chunks.get_mut(index).ok_or(FsError::FileTooLarge)?;
        let shared = match slot {
            Some(chunk) => Arc::get_mut(chunk).is_none(),
            None => true,
        };
        if shared {
            let old = slot.as_ref().map_or(&[][..], |chunk| chunk.bytes.as_slice());
            let mut copy = Chunk::with_room(budget, need.max(old.len()))?;
            copy.bytes.extend_from_slice(old);
            *slot = Some(Arc::new(copy));
        }
        slot.as_mut().and_then(Arc::get_mut).ok_or(FsError::NoSpace)
    }
}
