//! Who this driver is, and until when its agents are its own. Every write of it is held against the store's row; what it
//! does to a cluster, against this clock.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::Error;
use crate::clock::{now_ms, random_bits};

/// Nothing is begun so short before the end.
const MARGIN_MS: i64 = 2_000;

#[derive(Debug)]
pub struct Lease {
    pub owner: String,
    until_ms: AtomicI64,
}

impl Lease {
    /// # Errors
    /// Where the kernel gives no random bytes.
    pub fn new() -> Result<Self, Error> {
        Ok(Self { owner: format!("drv_{:032x}", random_bits()?), until_ms: AtomicI64::new(0) })
    }

    /// All leases of this owner were prolonged until then.
    pub fn prolonged(&self, until_ms: i64) {
        self.until_ms.store(until_ms, Ordering::Relaxed);
    }

    /// Whether something may be begun.
    pub fn holds(&self) -> bool {
        now_ms() + MARGIN_MS.min(self.until_ms.load(Ordering::Relaxed)) < self.until_ms.load(Ordering::Relaxed)
    }
}
