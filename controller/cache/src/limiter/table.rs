//! The times of a part of the keys, bounded. Never reads a clock.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Keys of a part.
const MAX_KEYS: usize = 8192;

/// The time at which each key is as if it had never asked, by the key's hash.
#[derive(Debug, Default)]
pub(super) struct Table {
    full_at: HashMap<u64, u64>,
}

impl Table {
    /// Takes one request of a key, or returns the wait until there is one.
    pub(super) fn take(&mut self, key: u64, now: u64, interval: u64, tolerance: u64) -> Result<(), u64> {
        self.make_room(now);
        let full_at = match self.full_at.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(now),
        };
        // The rate was changed since: what the old one would still refuse is forgotten.
        if *full_at > now.saturating_add(tolerance) {
            *full_at = now.saturating_add(tolerance.saturating_sub(interval));
        }
        let next = (*full_at).max(now).saturating_add(interval);
        match next.saturating_sub(tolerance).checked_sub(now) {
            Some(wait) if wait > 0 => Err(wait),
            _ => {
                *full_at = next;
                Ok(())
            }
        }
    }

    /// Sets the time of a key.
    pub(super) fn put(&mut self, key: u64, now: u64, full_at: u64) {
        self.make_room(now);
        self.full_at.insert(key, full_at);
    }

    /// Forgets the keys that nothing is known about any more, and if all are known, those with the least to forget.
    fn make_room(&mut self, now: u64) {
        if self.full_at.len() < MAX_KEYS {
            return;
        }
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() > MAX_KEYS / 2 {
            let mut times: Vec<u64> = self.full_at.values().copied().collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            self.full_at.retain(|_, full_at| *full_at > median);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.full_at.len()
    }
}
