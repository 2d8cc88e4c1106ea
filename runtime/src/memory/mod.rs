//! Linear memory as files: images, copy-on-write slots over them, and the pages that a slot has modified.
//!
//! This module and `sys` are the only ones in the runtime that handle memory by address. They assign no meaning to a
//! memory: `kernel::pool` and `session` decide who uses which slot.

mod creator;
mod delta;
mod image;
mod mapping;
mod slot;
mod sys;
mod vectored;

pub use creator::{SlotCreator, with_pending};
pub use delta::{Delta, DeltaError, Pages};
pub use image::Image;
pub use mapping::Mapping;
pub use slot::{Changes, Leftover, PAGE, ResetStats, Slot, SlotHandle, WASM_PAGE};
#[cfg(test)]
pub(crate) use sys::raw_call;

/// Opens the file for detecting private pages. Call it before the process is confined.
pub fn open_pagemap() {
    let _ = sys::scan_kind();
}
