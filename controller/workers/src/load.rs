//! The choice among workers: the ready one with the least to do; equals take turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A worker as the choice sees it.
pub(crate) trait Load {
    fn is_ready(&self) -> bool;
    /// Calls under way from this process.
    fn active(&self) -> usize;
}

/// Workers that calls are spread over.
pub(crate) struct Balanced<W> {
    workers: Vec<Arc<W>>,
    turn: AtomicUsize,
}

impl<W: Load> Balanced<W> {
    pub(crate) fn new(workers: Vec<Arc<W>>) -> Self {
        Self { workers, turn: AtomicUsize::new(0) }
    }

    pub(crate) fn all(&self) -> &[Arc<W>] {
        &self.workers
    }

    /// The ready worker with the least to do, other than `except`.
    pub(crate) fn pick(&self, except: Option<&W>) -> Option<Arc<W>> {
        let start = self.turn.fetch_add(1, Ordering::Relaxed) % self.workers.len().max(1);
        let (before, after) = self.workers.split_at(start.min(self.workers.len()));
        let ready = after.iter().chain(before).filter(|worker| worker.is_ready());
        let others = ready.filter(|worker| except.is_none_or(|except| !std::ptr::eq(except, Arc::as_ptr(worker))));
        others.min_by_key(|worker| worker.active()).cloned()
    }
}
