//! The memory budget of all file systems in the process. Shares return when their owner is dropped.
//!
//! Only counts: it neither allocates nor looks at files.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::FsError;

/// A cap over all sandboxes of the process, in bytes of host memory.
#[derive(Debug)]
pub struct Budget {
    cap: u64,
    used: AtomicU64,
}

impl Budget {
    pub fn new(cap: u64) -> Arc<Self> {
        Arc::new(Self { cap, used: AtomicU64::new(0) })
    }

    pub fn cap(&self) -> u64 {
        self.cap
    }

    /// Bytes in use. Contents shared by forks count once.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> Result<(), FsError> {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= self.cap)
            })
            .map(drop)
            .map_err(|_| FsError::NoSpace)
    }
}

/// A share of a [`Budget`], returned on drop.
#[derive(Debug)]
pub(crate) struct Lease {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Lease {
    pub(crate) fn new(budget: &Arc<Budget>, bytes: u64) -> Result<Self, FsError> {
        budget.take(bytes)?;
        Ok(Self { budget: Arc::clone(budget), bytes })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn grow(&mut self, by: u64) -> Result<(), FsError> {
        self.budget.take(by)?;
        self.bytes = self.bytes.saturating_add(by);
        Ok(())
    }

    pub(crate) fn shrink(&mut self, by: u64) {
        let by = by.min(self.bytes);
        self.bytes -= by;
        self.budget.used.fetch_sub(by, Ordering::Relaxed);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
