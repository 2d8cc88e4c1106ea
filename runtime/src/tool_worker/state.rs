//! What a store knows of its tool: the sandbox, and what is counted against the call's limits.

use cofferdam_host_api::{Sandbox, SandboxView};
use wasmtime::ResourceLimiter;

use crate::bounds::CpuClock;

/// Elements of all tables together.
const TABLE_ELEMENTS: usize = 1 << 20;
/// Core instances, memories and tables of one call. Compositions of many components need many of the first.
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

/// Bounds all memories together and all tables together, and remembers that it did.
#[derive(Debug)]
pub(super) struct Limiter {
    most: usize,
    held: usize,
    elements: usize,
    pub(super) denied: bool,
}

impl Limiter {
    pub(super) fn new(memory_bytes: u64) -> Self {
        Self { most: usize::try_from(memory_bytes).unwrap_or(usize::MAX), held: 0, elements: 0, denied: false }
    }

    /// Memories never shrink: what is held is the most there was.
    pub(super) fn peak(&self) -> usize {
        self.held
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let held = self.held.saturating_add(desired.saturating_sub(current));
        let granted = held <= self.most;
        if granted {
            self.held = held;
        } else {
            self.denied = true;
        }
        Ok(granted)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let elements = self.elements.saturating_add(desired.saturating_sub(current));
        let granted = elements <= TABLE_ELEMENTS;
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
    use super::*;

    #[test]
    fn all_memories_count_together_and_so_do_tables() {
        let mut limiter = Limiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(0, 30, None).unwrap(), "another memory");
        assert!(!limiter.denied);
        assert!(!limiter.memory_growing(60, 80, None).unwrap());
        assert!(limiter.denied);
        assert!(limiter.memory_growing(30, 40, None).unwrap());
        assert_eq!(limiter.peak(), 100);
        assert!(limiter.table_growing(0, TABLE_ELEMENTS, None).unwrap());
        assert!(!limiter.table_growing(0, 1, None).unwrap(), "another table");
    }
}
