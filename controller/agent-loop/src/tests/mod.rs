//! The loop over a database, a scripted provider of models and a fake worker of sandboxes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bad;
mod crash;
mod people;
mod rig;
mod steer;
mod tools;
mod trouble;
mod upstream;
mod whole;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Kills a worker at one of its writes: nothing that it does afterwards reaches the store.
#[derive(Debug, Default)]
pub struct Kill {
    at: AtomicUsize,
    after: AtomicBool,
    count: AtomicUsize,
    dead: AtomicBool,
}

impl Kill {
    /// A worker that dies before, or right after, its write of this number, from 1.
    pub(crate) fn at(number: usize, after: bool) -> Self {
        Self { at: number.into(), after: after.into(), ..Self::default() }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    pub(crate) fn before(&self) -> bool {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        if number == self.at.load(Ordering::SeqCst) && !self.after.load(Ordering::SeqCst) {
            self.dead.store(true, Ordering::SeqCst);
        }
        self.is_dead()
    }

    pub(crate) fn after(&self) -> bool {
        if self.count.load(Ordering::SeqCst) == self.at.load(Ordering::SeqCst) && self.after.load(Ordering::SeqCst) {
            self.dead.store(true, Ordering::SeqCst);
        }
        self.is_dead()
    }
}
