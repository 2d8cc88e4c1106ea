//! A store's data: the tool's sandbox, and the counters for the call's limits.

use cofferdam_host_api::{Sandbox, SandboxView};
use wasmtime::ResourceLimiter;

use super::memory::Share;
use crate::bounds::CpuClock;

/// The most elements of all tables, and the most bytes of one element.
const TABLE_ELEMENTS: usize = 1 << 20;
const ELEMENT_BYTES: usize = 16;
/// The most core instances, memories and tables of one call. Compositions of many components need many instances.
const INSTANCES: usize = 1_000;
const MEMORIES: usize = 32;
const TABLES: usize = 200;

pub(super) struct ToolState {
    pub(super) sandbox: Sandbox,
    pub(super) limiter: Limiter,
    pub(super) clock: CpuClock,
}

impl SandboxView for ToolState {
    fn sandbox(&mut self) -> &mut Sandbox {
        &mut self.sandbox
    }
}

/// Bounds all memories and all tables by the call's limits and by the memory left for all calls, and remembers what it
/// denied.
#[derive(Debug)]
pub(super) struct Limiter {
    most: usize,
    held: usize,
    elements: usize,
    /// The call's share of the memory of all calls.
    pub(super) share: Share,
    /// The call's own limit denied growth.
    pub(super) denied: bool,
    /// The memory of all calls was used up.
    pub(super) full: bool,
}

impl Limiter {
    pub(super) fn new(memory_bytes: u64, share: Share) -> Self {
        let most = usize::try_from(memory_bytes).unwrap_or(usize::MAX);
        Self { most, held: 0, elements: 0, share, denied: false, full: false }
    }

    fn shared(&mut self, bytes: usize) -> bool {
        let taken = self.share.grow(bytes);
        self.full |= !taken;
        taken
    }

    /// The peak. Memories never shrink, so it is what is held now.
    pub(super) fn peak(&self) -> usize {
        self.held
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let held = self.held.saturating_add(more);
        if held > self.most {
            self.denied = true;
            return Ok(false);
        }
        let granted = self.shared(more);
        if granted {
            self.held = held;
        }
        Ok(granted)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let elements = self.elements.saturating_add(more);
        let granted = elements <= TABLE_ELEMENTS && self.shared(more.saturating_mul(ELEMENT_BYTES));
        if granted {
            self.elements = elements;
        }
        Ok(granted)
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Memory;
    use super::*;

    #[test]
    fn all_memories_count_together_and_so_do_tables() {
        let memory = Memory::new(1 << 30);
        let mut limiter = Limiter::new(100, memory.share(0).unwrap());
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(0, 30, None).unwrap(), "another memory");
        assert!(!limiter.denied);
        assert!(!limiter.memory_growing(60, 80, None).unwrap());
        assert!(limiter.denied);
        assert!(limiter.memory_growing(30, 40, None).unwrap());
        assert_eq!(limiter.peak(), 100);
        assert!(limiter.table_growing(0, TABLE_ELEMENTS, None).unwrap());
        assert!(!limiter.table_growing(0, 1, None).unwrap(), "another table");
        assert_eq!(memory.used(), 100 + TABLE_ELEMENTS * ELEMENT_BYTES);
    }

    #[test]
    fn other_calls_count_too() {
        let memory = Memory::new(100);
        let mut one = Limiter::new(1_000, memory.share(0).unwrap());
        let mut other = Limiter::new(1_000, memory.share(0).unwrap());
        assert!(one.memory_growing(0, 60, None).unwrap());
        assert!(!other.memory_growing(0, 50, None).unwrap() && !other.table_growing(0, 3, None).unwrap());
        assert!(other.full && !other.denied && !one.full);
        drop(one);
        assert!(other.memory_growing(0, 50, None).unwrap());
    }
}
