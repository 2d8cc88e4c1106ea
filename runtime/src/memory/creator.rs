//! Provides slots to the engine, so that a kernel's instance gets the memory chosen by its owner.
#![allow(unsafe_code)] // reason: `LinearMemory` and `MemoryCreator` are unsafe traits

use std::cell::RefCell;

use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

use super::slot::{Slot, SlotHandle, WASM_PAGE};

thread_local! {
    static PENDING: RefCell<Option<(u64, SlotHandle)>> = const { RefCell::new(None) };
}

/// Runs `instantiate` so that its first memory with a minimum of `minimum_pages` is `slot`. An unused slot is withdrawn
/// and never leaks into another instantiation.
pub fn with_pending<R>(minimum_pages: u64, slot: SlotHandle, instantiate: impl FnOnce() -> R) -> R {
    PENDING.with(|pending| *pending.borrow_mut() = Some((minimum_pages, slot)));
    let result = instantiate();
    PENDING.with(|pending| pending.borrow_mut().take());
    result
}

/// The engine's source of linear memories.
#[derive(Debug)]
pub struct SlotCreator;

struct SlotMemory(SlotHandle);

// SAFETY: `new_memory` returns memory whose base never moves, with the requested reservation and guard.
unsafe impl MemoryCreator for SlotCreator {
    fn new_memory(
        &self,
        ty: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let chosen = PENDING.with(|pending| {
            let mut pending = pending.borrow_mut();
            if pending.as_ref().is_some_and(|(pages, _)| *pages == ty.minimum() && minimum > 0) {
                pending.take().map(|(_, slot)| slot)
            } else {
                None
            }
        });
        let needed = reserved.unwrap_or(0);
        if let Some(slot) = chosen {
            if slot.capacity() < needed || slot.size() < minimum {
                return Err("the slot is smaller than its memory".to_owned());
            }
            return Ok(Box::new(SlotMemory(slot)));
        }
        let capacity = if needed > 0 { needed } else { maximum.unwrap_or(minimum).clamp(WASM_PAGE, 1 << 30) };
        let slot = Slot::zeroed(minimum, capacity, guard).map_err(|e| format!("no address space for a memory: {e}"))?;
        Ok(Box::new(SlotMemory(SlotHandle::new(slot))))
    }
}

// SAFETY: `as_ptr` is valid for `byte_size` bytes while the value lives, and growth never moves it.
unsafe impl LinearMemory for SlotMemory {
    fn byte_size(&self) -> usize {
        self.0.size()
    }

    fn byte_capacity(&self) -> usize {
        self.0.capacity()
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        self.0.grow_to(new_size).map_err(wasmtime::Error::from)
    }

    fn as_ptr(&self) -> *mut u8 {
        self.0.base()
    }
}
