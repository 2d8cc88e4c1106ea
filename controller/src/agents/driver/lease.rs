//! Who this driver is, and until when its agents are its own. Every write of it is held against the store's row; what it
//! does to a cluster, against this clock.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::Error;
use crate::clock::{now_ms, random_bits};

#[derive(Debug)]
pub struct Lease {
    pub owner: String,
    until_ms: AtomicI64,
    /// Nothing is begun so short before the end.
    margin_ms: i64,
}

impl Lease {
    /// # Errors
    /// Where the kernel gives no random bytes.
    pub fn new(length_ms: i64) -> Result<Self, Error> {
        let owner = format!("drv_{:032x}", random_bits()?);
        Ok(Self { owner, until_ms: AtomicI64::new(0), margin_ms: length_ms / 8 })
    }

    /// All leases of this owner were prolonged until then.
    pub fn prolonged(&self, until_ms: i64) {
        self.until_ms.store(until_ms, Ordering::Relaxed);
    }

    /// Whether something may be begun.
    pub fn holds(&self) -> bool {
        now_ms() < self.until_ms.load(Ordering::Relaxed).saturating_sub(self.margin_ms)
    }
}
