//! Bytes on disk within a budget: taken in one step before anything is written, returned exactly when it is gone.
//!
//! Only counts: it neither writes nor looks at files.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

#[derive(Debug, Default)]
struct Book {
    /// Everything that is counted.
    used: u64,
    /// The part of it that belongs to folders, by their names.
    folders: HashMap<OsString, u64>,
}

/// A budget and what is taken of it.
#[derive(Debug)]
pub(crate) struct Ledger {
    budget: u64,
    book: Mutex<Book>,
}

/// Bytes that are counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    ledger: Arc<Ledger>,
    bytes: u64,
}

impl Ledger {
    pub(crate) fn new(budget: u64) -> Arc<Self> {
        Arc::new(Self { budget, book: Mutex::default() })
    }

    pub(crate) fn used(&self) -> u64 {
        self.book.lock().used
    }

    /// Takes bytes, if the budget has room for all of them.
    pub(crate) fn take(self: &Arc<Self>, bytes: u64) -> Option<Lease> {
        let mut book = self.book.lock();
        let sum = book.used.checked_add(bytes).filter(|sum| *sum <= self.budget)?;
        book.used = sum;
        Some(Lease { ledger: Arc::clone(self), bytes })
    }

    /// Counts bytes that are there already, also beyond the budget.
    pub(crate) fn count(self: &Arc<Self>, bytes: u64) -> Lease {
        self.book.lock().used += bytes;
        Lease { ledger: Arc::clone(self), bytes }
    }

    /// Counts a folder that is there already, also beyond the budget.
    pub(crate) fn found(&self, folder: &OsStr, bytes: u64) {
        self.book.lock().set(folder, bytes);
    }

    /// Counts a folder in place of the lease under which it was written. `is_there` is asked while no folder is renamed:
    /// one that was renamed meanwhile is not counted under this name. Returns whether it is there.
    pub(crate) fn keep(&self, folder: &OsStr, bytes: u64, lease: Lease, is_there: impl FnOnce() -> bool) -> bool {
        let mut book = self.book.lock();
        let there = is_there();
        if there {
            book.set(folder, bytes);
        }
        drop(book);
        drop(lease);
        there
    }

    /// Renames a folder by `rename`, and counts it under its new name.
    pub(crate) fn rename(&self, from: &OsStr, to: &OsStr, rename: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut book = self.book.lock();
        rename()?;
        if let Some(bytes) = book.folders.remove(from) {
            book.folders.insert(to.to_owned(), bytes);
        }
        Ok(())
    }

    /// Stops counting a folder that is gone.
    pub(crate) fn forget(&self, folder: &OsStr) {
        self.book.lock().set(folder, 0);
    }
}

impl Book {
    fn set(&mut self, folder: &OsStr, bytes: u64) {
        let before = match bytes {
            0 => self.folders.remove(folder),
            _ => self.folders.insert(folder.to_owned(), bytes),
        };
        self.used = self.used + bytes - before.unwrap_or_default();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.ledger.book.lock().used -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn what_is_taken_returns_exactly() {
        let ledger = Ledger::new(100);
        let (first, second) = (ledger.take(60).unwrap(), ledger.take(10).unwrap());
        assert!(ledger.take(31).is_none());
        let name = OsStr::new("a");
        assert!(ledger.keep(name, 50, first, || true));
        assert_eq!(ledger.used(), 60);
        assert!(!ledger.keep(name, 7, ledger.take(40).unwrap(), || false));
        ledger.rename(name, OsStr::new("b"), || Ok(())).unwrap();
        assert!(ledger.rename(OsStr::new("b"), name, || Err(io::Error::other("x"))).is_err());
        ledger.forget(name);
        assert_eq!(ledger.used(), 60);
        ledger.forget(OsStr::new("b"));
        ledger.forget(OsStr::new("b"));
        drop(second);
        assert_eq!(ledger.used(), 0);
        let over = ledger.count(1_000);
        assert!(ledger.take(1).is_none());
        drop(over);
        assert!(ledger.take(100).is_some());
    }

    #[test]
    fn many_at_once_never_take_more_than_there_is() {
        let (ledger, start) = (Ledger::new(5), Arc::new(Barrier::new(64)));
        for _ in 0..10 {
            let takers: Vec<_> = (0..64)
                .map(|_| {
                    let (ledger, start) = (Arc::clone(&ledger), Arc::clone(&start));
                    std::thread::spawn(move || {
                        start.wait();
                        ledger.take(1)
                    })
                })
                .collect();
            let taken: Vec<_> = takers.into_iter().filter_map(|taker| taker.join().unwrap()).collect();
            assert_eq!((taken.len(), ledger.used()), (5, 5));
        }
        assert_eq!(ledger.used(), 0);
    }
}
