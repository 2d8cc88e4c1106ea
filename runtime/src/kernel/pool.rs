//! Slots that wait for the next run, clean and with their pages still there.
//!
//! A slot that served one organization never serves another: it is unmapped, and the other gets a new mapping.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cofferdam_contract::OrganizationId;

use crate::engine::{GUARD, RESERVATION};
use crate::memory::{Image, PAGE, ResetStats, Slot};

/// The pages that all kept slots of a kernel together may have made their own.
const MOST_PAGES: usize = (1 << 30) / PAGE;
/// One reset in this many is checked byte for byte.
const VERIFY_EVERY: u64 = 1_024;

/// The kept slots of one kernel.
pub struct SlotPool {
    image: Arc<Image>,
    kept: Mutex<Kept>,
    most: usize,
    resets: AtomicU64,
    pub stats: PoolStats,
}

/// The slots, with the number of pages that each has made its own, and the sum of those.
#[derive(Debug, Default)]
struct Kept {
    slots: Vec<(OrganizationId, Slot, usize)>,
    pages: usize,
}

impl Kept {
    fn remove(&mut self, at: usize) -> Slot {
        let (_, slot, pages) = self.slots.remove(at);
        self.pages -= pages;
        slot
    }
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct PoolStats {
    pub reused: AtomicU64,
    pub mapped: AtomicU64,
    /// Resets that failed or did not stand the check. Anything but 0 is a defect.
    pub spoiled: AtomicU64,
    pub private_pages: AtomicU64,
}

impl SlotPool {
    pub fn new(image: Arc<Image>, most: usize) -> Self {
        Self { image, kept: Mutex::default(), most, resets: AtomicU64::new(0), stats: PoolStats::default() }
    }

    /// A clean slot for a run of the organization's: the one it used last, or a new mapping.
    pub fn take(&self, organization: &OrganizationId) -> io::Result<Slot> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.slots.iter().rposition(|(owner, ..)| owner == organization);
        if let Some(slot) = found.map(|at| kept.remove(at)) {
            self.stats.reused.fetch_add(1, Ordering::Relaxed);
            return Ok(slot);
        }
        drop(kept);
        self.stats.mapped.fetch_add(1, Ordering::Relaxed);
        Slot::new(Arc::clone(&self.image), RESERVATION, GUARD)
    }

    /// Resets a slot and keeps it; one that does not come out clean is unmapped.
    pub fn give(&self, organization: &OrganizationId, mut slot: Slot) {
        let pages = match slot.reset() {
            Ok(ResetStats { private_pages, dropped }) => {
                self.stats.private_pages.fetch_add(private_pages as u64, Ordering::Relaxed);
                if dropped { 0 } else { private_pages }
            }
            Err(error) => {
                self.spoiled(&error.to_string());
                return;
            }
        };
        if self.resets.fetch_add(1, Ordering::Relaxed).is_multiple_of(VERIFY_EVERY) {
            if !slot.is_pristine() {
                self.spoiled("the slot differs from its image after a reset");
            }
            // The check has touched every page, and the next scan would have to walk them all: the slot has served.
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.pages += pages;
        kept.slots.push((organization.clone(), slot, pages));
        let mut surplus = Vec::new();
        while kept.slots.len() > self.most || (kept.pages > MOST_PAGES && kept.slots.len() > 1) {
            surplus.push(kept.remove(0));
        }
        drop(kept);
        // Unmapped out of the lock.
        drop(surplus);
    }

    fn spoiled(&self, reason: &str) {
        self.stats.spoiled.fetch_add(1, Ordering::Relaxed);
        tracing::error!(reason, "a memory slot could not be reset and was unmapped");
    }

    /// Slots that wait, and the bytes that they have made their own.
    pub fn kept(&self) -> (usize, usize) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.slots.len(), kept.slots.iter().filter_map(|(_, slot, _)| slot.private_bytes().ok()).sum())
    }
}
