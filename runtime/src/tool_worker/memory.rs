//! The memory of all calls in this process: linear memories, tables, instances, values in and out, archives of folders.
//! Only counts; the callers report a refused share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The memory of all calls.
#[derive(Debug)]
pub(super) struct Memory {
    most: usize,
    used: AtomicUsize,
}

/// One call's share, returned when the last clone is dropped.
#[derive(Debug, Clone)]
pub(super) struct Share(Arc<Held>);

#[derive(Debug)]
struct Held {
    memory: Arc<Memory>,
    bytes: AtomicUsize,
}

impl Memory {
    pub(super) fn new(most_bytes: u64) -> Arc<Self> {
        let most = usize::try_from(most_bytes).unwrap_or(usize::MAX);
        Arc::new(Self { most, used: AtomicUsize::new(0) })
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// A call's share. `None` if there is not enough left.
    pub(super) fn share(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let share = Share(Arc::new(Held { memory: Arc::clone(self), bytes: AtomicUsize::new(0) }));
        share.grow(bytes).then_some(share)
    }

    fn take(&self, bytes: usize, most: usize) -> bool {
        let taken = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= most);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }
}

impl Share {
    /// Takes more, if there is enough left.
    pub(super) fn grow(&self, bytes: usize) -> bool {
        self.grow_within(bytes, self.0.memory.most)
    }

    /// Takes more if half of the total stays free for others. For memory that a call can do without.
    pub(super) fn grow_amply(&self, bytes: usize) -> bool {
        self.grow_within(bytes, self.0.memory.most / 2)
    }

    fn grow_within(&self, bytes: usize, most: usize) -> bool {
        let taken = self.0.memory.take(bytes, most);
        if taken {
            self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        taken
    }

    pub(super) fn shrink(&self, bytes: usize) {
        let less = |held: usize| Some(held.saturating_sub(bytes));
        let before = self.0.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).unwrap_or_default();
        self.0.memory.used.fetch_sub(before.min(bytes), Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_taken_and_given_back() {
        let memory = Memory::new(100);
        let one = memory.share(30).unwrap();
        assert!(memory.share(71).is_none() && memory.used() == 30);
        let other = memory.share(10).unwrap();
        assert!(!other.grow(61) && !one.grow(usize::MAX));
        assert!(!other.grow_amply(11) && other.grow_amply(10) && other.grow(50));
        assert_eq!(memory.used(), 100);
        other.shrink(20);
        other.shrink(1_000);
        assert_eq!(memory.used(), 30);
        let again = one.clone();
        drop(one);
        assert_eq!(memory.used(), 30);
        drop((again, other));
        assert_eq!(memory.used(), 0);
    }
}
