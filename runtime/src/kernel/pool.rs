//! Slots that wait for the next run, clean and with their pages still there.
//!
//! A slot that served one organization never serves another: it is unmapped, and the other gets a new mapping.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cofferdam_contract::OrganizationId;

use crate::engine::{GUARD, RESERVATION};
use crate::memory::{Image, ResetStats, Slot};

/// One reset in this many is checked byte for byte.
const VERIFY_EVERY: u64 = 1_024;

/// The kept slots of one kernel.
pub struct SlotPool {
    image: Arc<Image>,
    kept: Mutex<Vec<(OrganizationId, Slot)>>,
    most: usize,
    resets: AtomicU64,
    pub stats: PoolStats,
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
        let found = kept.iter().rposition(|(owner, _)| owner == organization);
        if let Some((_, slot)) = found.map(|at| kept.remove(at)) {
            self.stats.reused.fetch_add(1, Ordering::Relaxed);
            return Ok(slot);
        }
        drop(kept);
        self.stats.mapped.fetch_add(1, Ordering::Relaxed);
        Slot::new(Arc::clone(&self.image), RESERVATION, GUARD)
    }

    /// Resets a slot and keeps it; one that does not come out clean is unmapped.
    pub fn give(&self, organization: &OrganizationId, mut slot: Slot) {
        match slot.reset() {
            Ok(ResetStats { private_pages, .. }) => {
                self.stats.private_pages.fetch_add(private_pages as u64, Ordering::Relaxed);
            }
            Err(error) => {
                self.spoiled(&error.to_string());
                return;
            }
        }
        if self.resets.fetch_add(1, Ordering::Relaxed).is_multiple_of(VERIFY_EVERY) {
            if !slot.is_pristine() {
                self.spoiled("the slot differs from its image after a reset");
            }
            // The check has touched every page, and the next scan would have to walk them all: the slot has served.
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = (kept.len() >= self.most && !kept.is_empty()).then(|| kept.remove(0));
        kept.push((organization.clone(), slot));
        drop(kept);
        drop(oldest);
    }

    fn spoiled(&self, reason: &str) {
        self.stats.spoiled.fetch_add(1, Ordering::Relaxed);
        tracing::error!(reason, "a memory slot could not be reset and was unmapped");
    }

    /// Slots that wait, and the bytes that they have made their own.
    pub fn kept(&self) -> (usize, usize) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.len(), kept.iter().filter_map(|(_, slot)| slot.private_bytes().ok()).sum())
    }
}
