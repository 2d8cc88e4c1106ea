//! Linear memory as files: images, copy-on-write slots over them, and what a slot has made its own.
//!
//! This module and `sys` below it are the only ones of the runtime that handle memory by address. It never decides what
//! a memory means: who may use which slot is the business of `kernel::pool` and `session`.

mod creator;
mod delta;
mod image;
mod mapping;
mod slot;
mod sys;
mod vectored;

pub use creator::{SlotCreator, with_pending};
pub use delta::{Delta, DeltaError};
pub use image::Image;
pub use mapping::Mapping;
pub use slot::{Leftover, PAGE, ResetStats, Slot, SlotHandle, WASM_PAGE};

/// Opens what telling private pages needs: before the process is confined.
pub fn open_pagemap() {
    let _ = sys::scan_kind();
}
