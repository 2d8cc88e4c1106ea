//! Warm slots for the next runs: clean, with their pages still present.
//!
//! A slot that served one organization never serves another. It is unmapped, and the other gets a new mapping.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cofferdam_contract::OrganizationId;
use parking_lot::Mutex;

use crate::engine::{GUARD, RESERVATION};
use crate::memory::{Image, PAGE, ResetStats, Slot};

/// The most private pages of all kept slots of a kernel together.
const MAX_PAGES: usize = (1 << 30) / PAGE;
/// One in this many resets is verified byte for byte.
const VERIFY_EVERY: u64 = 1_024;

/// The kept slots of one kernel.
pub struct SlotPool {
    image: Arc<Image>,
    kept: Mutex<Kept>,
    most: usize,
    resets: AtomicU64,
    pub stats: PoolStats,
}

/// The slots with their numbers of private pages, and the total.
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

/// Counters since the start.
#[derive(Debug, Default)]
pub struct PoolStats {
    pub reused: AtomicU64,
    pub mapped: AtomicU64,
    /// Resets that failed or did not pass verification. Anything but 0 is a bug.
    pub spoiled: AtomicU64,
    pub private_pages: AtomicU64,
}

impl SlotPool {
    pub fn new(image: Arc<Image>, most: usize) -> Self {
        Self { image, kept: Mutex::default(), most, resets: AtomicU64::new(0), stats: PoolStats::default() }
    }

    /// A clean slot for a run: the one that the organization used last, or a new mapping.
    pub fn take(&self, organization: &OrganizationId) -> io::Result<Slot> {
        let mut kept = self.kept.lock();
        let found = kept.slots.iter().rposition(|(owner, ..)| owner == organization);
        if let Some(slot) = found.map(|at| kept.remove(at)) {
            self.stats.reused.fetch_add(1, Ordering::Relaxed);
            return Ok(slot);
        }
        drop(kept);
        self.stats.mapped.fetch_add(1, Ordering::Relaxed);
        Slot::new(Arc::clone(&self.image), RESERVATION, GUARD)
    }

    /// Resets a slot and keeps it. Unmaps it if the reset fails.
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
            // Not kept: verification touched every page, and the next scan would have to walk them all.
            return;
        }
        let mut kept = self.kept.lock();
        kept.pages += pages;
        kept.slots.push((organization.clone(), slot, pages));
        let mut surplus = Vec::new();
        while kept.slots.len() > self.most || (kept.pages > MAX_PAGES && kept.slots.len() > 1) {
            surplus.push(kept.remove(0));
        }
        drop(kept);
        // Unmapped outside the lock.
        drop(surplus);
    }

    fn spoiled(&self, reason: &str) {
        self.stats.spoiled.fetch_add(1, Ordering::Relaxed);
        tracing::error!(reason, "a memory slot could not be reset and was unmapped");
    }

    /// The number of kept slots, and their private bytes.
    pub fn kept(&self) -> (usize, usize) {
        let kept = self.kept.lock();
        (kept.slots.len(), kept.slots.iter().filter_map(|(_, slot, _)| slot.private_bytes().ok()).sum())
    }
}
