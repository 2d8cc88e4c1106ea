//! Counts the bytes of answers until they are written to their connection, and refuses new work of those who leave too
//! many unread.
//!
//! Never delays or cuts an answer that was made. Short answers are not counted: their number is that of the connections.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Bytes;
use cofferdam_contract::{OrganizationId, Problem};
use parking_lot::Mutex;

/// Shorter answers are not counted, and what waits in a queue is counted in steps of this, in bytes.
const MIN_COUNTED: usize = 16 << 10;
/// The unsent bytes from which on the worker takes no more work, of one organization and of all.
const MAX_OF_ONE: u64 = 256 << 20;
const MAX_OF_ALL: u64 = 512 << 20;

#[derive(Debug, Default)]
struct Counts {
    all: AtomicU64,
    /// Organizations that have unsent answers.
    of: Mutex<HashMap<OrganizationId, u64>>,
}

/// The unsent answers of a worker. Clones count together.
#[derive(Clone, Default)]
pub(crate) struct Unsent(Arc<Counts>);

/// Bytes that are counted until this is dropped.
struct Counted {
    bytes: Vec<u8>,
    organization: OrganizationId,
    counts: Arc<Counts>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counts.subtract(&self.organization, self.bytes.len() as u64);
    }
}

impl Counts {
    fn add(&self, organization: &OrganizationId, bytes: u64) {
        self.all.fetch_add(bytes, Ordering::Relaxed);
        *self.of.lock().entry(organization.clone()).or_default() += bytes;
    }

    fn subtract(&self, organization: &OrganizationId, bytes: u64) {
        self.all.fetch_sub(bytes, Ordering::Relaxed);
        let mut of = self.of.lock();
        if let Some(of_one) = of.get_mut(organization) {
            *of_one = of_one.saturating_sub(bytes);
            if *of_one == 0 {
                of.remove(organization);
            }
        }
    }
}

/// The bytes that wait in a queue, counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Tally {
    counted: u64,
    organization: OrganizationId,
    counts: Arc<Counts>,
}

impl Tally {
    /// Counts `bytes` from now on instead of those before, in whole steps.
    pub(crate) fn set(&mut self, bytes: usize) {
        let (before, now) = (self.counted, (bytes / MIN_COUNTED * MIN_COUNTED) as u64);
        self.counted = now;
        if now > before {
            self.counts.add(&self.organization, now - before);
        } else if now < before {
            self.counts.subtract(&self.organization, before - now);
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Unsent {
    /// The bytes of an answer, counted until the connection has taken them or is gone.
    pub(crate) fn count(&self, organization: &OrganizationId, bytes: Vec<u8>) -> Bytes {
        if bytes.len() < MIN_COUNTED {
            return Bytes::from(bytes);
        }
        self.0.add(organization, bytes.len() as u64);
        Bytes::from_owner(Counted { bytes, organization: organization.clone(), counts: Arc::clone(&self.0) })
    }

    /// Counts what will wait in a queue.
    pub(crate) fn tally(&self, organization: &OrganizationId) -> Tally {
        Tally { counted: 0, organization: organization.clone(), counts: Arc::clone(&self.0) }
    }

    /// Called before work whose answer may be long.
    ///
    /// # Errors
    /// `overloaded` if too much of earlier answers is unread.
    pub(crate) fn admit(&self, organization: &OrganizationId) -> Result<(), Problem> {
        let all = self.bytes();
        // As long as all have less than one may have, nobody has too much.
        if all < MAX_OF_ONE {
            return Ok(());
        }
        let of_one = self.0.of.lock().get(organization).copied().unwrap_or_default();
        if of_one < MAX_OF_ONE && all < MAX_OF_ALL {
            return Ok(());
        }
        Err(Problem::overloaded("too many bytes of earlier answers have not been read; read them, or try again later"))
    }

    /// The bytes that are not written yet.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.all.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_until_the_last_use_ends() {
        let (unsent, organization) = (Unsent::default(), OrganizationId::default_organization());
        let (long, short) = (unsent.count(&organization, vec![1; 1 << 20]), unsent.count(&organization, vec![1; 10]));
        let queued = long.slice(5..);
        drop(long);
        assert_eq!((unsent.bytes(), short.len()), (1 << 20, 10));
        drop(queued);
        assert_eq!(unsent.bytes(), 0);
        assert!(unsent.0.of.lock().is_empty());
    }

    #[test]
    fn what_waits_in_a_queue_is_counted_in_steps() {
        let (unsent, organization) = (Unsent::default(), OrganizationId::default_organization());
        let mut tally = unsent.tally(&organization);
        for (bytes, counted) in [(MIN_COUNTED - 1, 0), (MIN_COUNTED * 3 + 1, 3), (MIN_COUNTED * 2, 2), (0, 0)] {
            tally.set(bytes);
            assert_eq!(unsent.bytes(), counted * MIN_COUNTED as u64);
        }
        tally.set(1 << 20);
        drop(tally);
        assert_eq!(unsent.bytes(), 0);
        assert!(unsent.0.of.lock().is_empty());
    }

    #[test]
    fn who_reads_nothing_gets_nothing_more() {
        let (unsent, hoarder) = (Unsent::default(), OrganizationId::default_organization());
        let other = OrganizationId::parse("other").unwrap();
        let mut held = Vec::new();
        while unsent.admit(&hoarder).is_ok() {
            held.push(unsent.count(&hoarder, vec![0; 32 << 20]));
            assert!(held.len() <= 8);
        }
        assert_eq!(unsent.admit(&hoarder).unwrap_err().kind(), "overloaded");
        unsent.admit(&other).unwrap();
        held.pop();
        unsent.admit(&hoarder).unwrap();
    }
}
