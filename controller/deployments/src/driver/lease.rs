//! The identity of this driver, and the time until which its agents are its own. Writes are checked against the lease in
//! the store; calls to a cluster are checked against this clock.

use std::sync::atomic::{AtomicI64, Ordering};

use cofferdam_core::{RandomError, now_ms, random_bits};

#[derive(Debug)]
pub(super) struct Lease {
    pub owner: String,
    until_ms: AtomicI64,
    /// Nothing is begun this shortly before the end.
    margin_ms: i64,
}

impl Lease {
    /// # Errors
    /// [`RandomError`].
    pub(super) fn new(length_ms: i64) -> Result<Self, RandomError> {
        let owner = format!("drv_{:032x}", random_bits()?);
        Ok(Self { owner, until_ms: AtomicI64::new(0), margin_ms: length_ms / 8 })
    }

    /// All leases of this owner were renewed until then.
    pub(super) fn renewed(&self, until_ms: i64) {
        self.until_ms.store(until_ms, Ordering::Relaxed);
    }

    /// The lease is valid for long enough to begin something.
    pub(super) fn holds(&self) -> bool {
        now_ms() < self.until_ms.load(Ordering::Relaxed).saturating_sub(self.margin_ms)
    }
}
