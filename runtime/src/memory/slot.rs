//! A slot: address space for one linear memory, with an image mapped copy-on-write at its base.
//!
//! One instance uses a slot at a time. A reset restores the image's bytes where the instance wrote. It asks the kernel
//! which pages are private instead of tracking writes. A slot whose reset fails is unmapped and never reused.
#![allow(unsafe_code)] // reason: this is where linear memory is handled by address

mod copying;

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::delta::Run;
use super::image::Image;
use super::sys;
pub use copying::Changes;

pub const PAGE: usize = 4096;
pub const WASM_PAGE: usize = 64 << 10;

/// The most private pages that a reset keeps, so that the next run does not fault them in again. Above that they are
/// dropped.
const KEEP_PAGES: usize = 4096;

/// The outcome of a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftover {
    /// It can be reused.
    Clean,
    /// It must be unmapped.
    Spoiled,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct ResetStats {
    /// Pages that the instance had made private.
    pub private_pages: usize,
    /// True if they were dropped instead of restored.
    pub dropped: bool,
}

/// Address space with an image, and the size of its accessible part.
#[derive(Debug)]
pub struct Slot {
    base: NonNull<u8>,
    /// Reservation plus guard.
    reserved: usize,
    /// The most bytes that may ever be accessible.
    capacity: usize,
    accessible: AtomicUsize,
    /// The largest accessible size since the last reset, which reset must take back.
    high_water: AtomicUsize,
    image: Option<Arc<Image>>,
    /// The parts of deltas mapped over the image, by offset. They are backed by a file other than the image's.
    overlay: Mutex<Vec<Run>>,
}

// SAFETY: this value alone owns the reservation, and the address is valid on any thread.
unsafe impl Send for Slot {}
// SAFETY: shared access only reads sizes. Memory is accessed through `&mut` or by the one running instance.
unsafe impl Sync for Slot {}

/// A slot in use: the instance and its owner each hold a handle.
pub type SlotHandle = Arc<Slot>;

impl Slot {
    /// A slot over an image. `capacity` is the reservation, `guard` the unmapped bytes after it.
    pub fn new(image: Arc<Image>, capacity: usize, guard: usize) -> io::Result<Self> {
        let slot = Self::reserve(capacity.max(image.len()), guard, Some(image))?;
        slot.map_image()?;
        Ok(slot)
    }

    /// A zeroed slot with `size` accessible bytes, for the first image and for memories that are not a kernel's.
    pub fn zeroed(size: usize, capacity: usize, guard: usize) -> io::Result<Self> {
        let slot = Self::reserve(capacity.max(size), guard, None)?;
        slot.grow_to(size)?;
        Ok(slot)
    }

    fn reserve(capacity: usize, guard: usize, image: Option<Arc<Image>>) -> io::Result<Self> {
        let capacity = capacity.next_multiple_of(PAGE);
        let reserved = capacity + guard.next_multiple_of(PAGE);
        let base = sys::reserve(reserved.max(PAGE))?;
        Ok(Self {
            base,
            reserved: reserved.max(PAGE),
            capacity,
            accessible: AtomicUsize::new(0),
            high_water: AtomicUsize::new(0),
            image,
            overlay: Mutex::default(),
        })
    }

    fn map_image(&self) -> io::Result<()> {
        if let Some(image) = &self.image {
            // SAFETY: the image is at most `capacity` long (see `new`), and no instance runs in the slot.
            unsafe { sys::map_file(self.base.as_ptr(), image.len(), image.file(), 0)? };
            self.set_size(image.len());
        }
        Ok(())
    }

    fn set_size(&self, size: usize) {
        self.accessible.store(size, Ordering::Release);
        self.high_water.fetch_max(size, Ordering::AcqRel);
    }

    fn image_len(&self) -> usize {
        self.image.as_ref().map_or(0, |image| image.len())
    }

    fn overlay(&self) -> MutexGuard<'_, Vec<Run>> {
        self.overlay.lock()
    }

    /// The accessible bytes.
    pub fn size(&self) -> usize {
        self.accessible.load(Ordering::Acquire)
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Makes bytes up to `size` accessible. They read as zero. The engine calls it under the store's lock.
    pub(super) fn grow_to(&self, size: usize) -> io::Result<()> {
        let from = self.size();
        if size <= from {
            return Ok(());
        }
        if size > self.capacity {
            return Err(io::Error::from(io::ErrorKind::OutOfMemory));
        }
        let (start, end) = (from.next_multiple_of(PAGE), size.next_multiple_of(PAGE));
        if end > start {
            // SAFETY: the range lies inside this reservation and has not been accessible since the last reset.
            unsafe { sys::allow(self.base.as_ptr().add(start), end - start)? };
        }
        self.set_size(size);
        Ok(())
    }

    /// Converts offsets to addresses.
    fn addresses(&self, from: usize, to: usize) -> (u64, u64) {
        let base = self.base.as_ptr() as u64;
        (base + from as u64, base + to as u64)
    }

    /// The page runs below `end`, as offsets, that the instance has made private.
    fn private_below(&self, end: usize) -> io::Result<Vec<(usize, usize)>> {
        let (base, end) = self.addresses(0, end.next_multiple_of(PAGE));
        let runs = sys::private_pages(base, end)?;
        Ok(runs.into_iter().map(|(a, b)| ((a - base) as usize, (b - base) as usize)).collect())
    }

    /// The number of private bytes: shared neither with the image nor with a delta.
    pub fn private_bytes(&self) -> io::Result<usize> {
        Ok(self.private_below(self.size())?.into_iter().map(|(from, to)| to - from).sum())
    }

    /// Restores the image. Requires exclusive access: no instance may use the slot.
    pub fn reset(&mut self) -> io::Result<ResetStats> {
        let Some(image) = self.image.clone() else {
            return Err(io::Error::other("a slot without an image cannot be reset"));
        };
        if !self.overlay().is_empty() || sys::scan_kind() == sys::ScanKind::None {
            self.remap()?;
            return Ok(ResetStats { private_pages: 0, dropped: true });
        }
        let runs = self.private_below(image.len())?;
        let private_pages = runs.iter().map(|(a, b)| (b - a) / PAGE).sum();
        let dropped = private_pages > KEEP_PAGES;
        if dropped {
            // SAFETY: `&mut self` means that nothing runs in the slot. The range is the image's mapping.
            unsafe { sys::discard(self.base.as_ptr(), image.len())? };
        } else {
            for (from, to) in runs {
                let Some(original) = image.bytes().get(from..to) else {
                    return Err(io::Error::other("a private page lies outside the image"));
                };
                // SAFETY: `[from, to)` is inside the mapped image range, writable, and nothing else refers to it.
                unsafe { self.base.as_ptr().add(from).copy_from_nonoverlapping(original.as_ptr(), original.len()) };
            }
        }
        self.drop_growth()?;
        Ok(ResetStats { private_pages, dropped })
    }

    /// Zeroes everything beyond the image and makes it inaccessible.
    fn drop_growth(&mut self) -> io::Result<()> {
        let image_len = self.image_len();
        let high = self.high_water.load(Ordering::Acquire).next_multiple_of(PAGE);
        if high > image_len {
            // SAFETY: the range lies inside the reservation, and `&mut self` means that nothing uses it.
            unsafe {
                sys::discard(self.base.as_ptr().add(image_len), high - image_len)?;
                sys::forbid(self.base.as_ptr().add(image_len), high - image_len)?;
            }
        }
        self.accessible.store(image_len, Ordering::Release);
        self.high_water.store(image_len, Ordering::Release);
        Ok(())
    }

    /// Maps the image anew over the current contents.
    pub fn remap(&mut self) -> io::Result<()> {
        let high = self.high_water.load(Ordering::Acquire).next_multiple_of(PAGE);
        // SAFETY: the range is in this reservation, and `&mut self` means that nothing uses it.
        unsafe { sys::unmap_to_reserved(self.base.as_ptr(), high)? };
        self.overlay().clear();
        self.accessible.store(0, Ordering::Release);
        self.high_water.store(0, Ordering::Release);
        self.map_image()
    }

    /// True if the slot equals the image byte for byte, with nothing beyond it.
    pub fn is_pristine(&mut self) -> bool {
        let Some(image) = &self.image else { return false };
        let same_size = self.size() == image.len();
        // SAFETY: `size()` bytes are accessible, and `&mut self` means that nobody writes them meanwhile.
        let now = unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.size()) };
        let (start, end) = self.addresses(image.len(), self.capacity);
        let beyond_is_empty = sys::private_pages(start, end).is_ok_and(|runs| runs.is_empty());
        same_size && now == image.bytes() && beyond_is_empty
    }

    /// Reads the memory while nothing runs in it.
    ///
    /// The engine holds the other handle of the slot. `at_rest` proves that the caller has exclusive access to the
    /// store.
    pub fn with_bytes<T, R>(&self, at_rest: &mut T, read: impl FnOnce(&[u8]) -> R) -> R {
        let _ = at_rest;
        // SAFETY: `size()` bytes are accessible, and the store, the only writer, is borrowed exclusively.
        read(unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.size()) })
    }

    /// Writes into a slot that no instance uses yet, for the first image's data segments.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len()).filter(|end| *end <= self.size());
        if end.is_none() {
            return Err(io::Error::other("a data segment lies outside the memory"));
        }
        // SAFETY: the range was just checked to be accessible, and `&mut self` makes it exclusive.
        unsafe { self.base.as_ptr().add(offset).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // SAFETY: this value owns the reservation. A running instance would hold a handle, so there is none.
        unsafe { sys::release(self.base, self.reserved) };
    }
}

#[cfg(test)]
mod tests;
