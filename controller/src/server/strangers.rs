//! The open connections, oldest first, and which of them ends when there is no room for another one: one whose last request
//! had no valid key, else one of the key that has most of them, once its request has been answered.
//!
//! Never judges a key: the API marks the connection.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cofferdam_http::Known;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The open connections that have not been told to end.
#[derive(Default)]
pub(super) struct Strangers(Mutex<Listed>);

#[derive(Default)]
struct Listed {
    next: u64,
    /// By age.
    open: BTreeMap<u64, Open>,
}

#[derive(Default, Clone)]
struct Open {
    known: Known,
    closing: CancellationToken,
    ending: CancellationToken,
}

/// A connection's entry, removed on drop.
pub(super) struct Entry {
    strangers: Arc<Strangers>,
    number: u64,
    open: Open,
}

impl Listed {
    fn oldest_stranger(&self) -> Option<u64> {
        self.open.iter().find(|(_, open)| open.known.key().is_none()).map(|(number, _)| *number)
    }

    /// The oldest connection of the key that has most.
    fn oldest_of_most(&self) -> Option<u64> {
        let mut keys = HashMap::<u64, (usize, u64)>::new();
        for (number, open) in &self.open {
            keys.entry(open.known.key()?).or_insert((0, *number)).0 += 1;
        }
        keys.into_values().max_by_key(|(count, _)| *count).map(|(_, oldest)| oldest)
    }
}

impl Strangers {
    /// Lists a new connection.
    pub(super) fn add(self: &Arc<Self>) -> Entry {
        let open = Open::default();
        let mut listed = self.0.lock();
        let number = listed.next;
        listed.next = number.wrapping_add(1);
        listed.open.insert(number, open.clone());
        drop(listed);
        Entry { strangers: Arc::clone(self), number, open }
    }

    /// Tells a connection to make room. Returns false if all were told already.
    pub(super) fn make_room(&self) -> bool {
        let mut listed = self.0.lock();
        let stranger = listed.oldest_stranger();
        let Some(number) = stranger.or_else(|| listed.oldest_of_most()) else { return false };
        let Some(open) = listed.open.remove(&number) else { return false };
        if stranger.is_some() {
            open.closing.cancel()
        } else {
            open.ending.cancel()
        }
        true
    }
}

impl Entry {
    /// The mark for the connection's requests.
    pub(super) fn known(&self) -> &Known {
        &self.open.known
    }

    /// Waits until the connection has to close.
    pub(super) async fn closing(&self) {
        self.open.closing.cancelled().await;
    }

    /// Waits until the connection has to end after the request that is under way.
    pub(super) async fn ending(&self) {
        self.open.ending.cancelled().await;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.strangers.0.lock().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_go_first_and_then_those_of_the_key_with_most() {
        let strangers = Arc::new(Strangers::default());
        let [first, hoard, other, more, gone, last] = [(); 6].map(|()| strangers.add());
        for entry in [&hoard, &more] {
            entry.known().mark("hoarder");
        }
        other.known().mark("other");
        drop(gone);
        for stranger in [&first, &last] {
            assert!(strangers.make_room());
            assert!(stranger.open.closing.is_cancelled());
        }
        assert!(strangers.make_room());
        assert!(hoard.open.ending.is_cancelled() && !hoard.open.closing.is_cancelled());
        assert!(!more.open.ending.is_cancelled() && !other.open.ending.is_cancelled());
        more.known().forget();
        assert!(strangers.make_room() && more.open.closing.is_cancelled(), "a revoked key makes a stranger");
        assert!(strangers.make_room() && other.open.ending.is_cancelled());
        assert!(!strangers.make_room());
        drop((first, hoard, other, more, last));
        assert!(strangers.0.lock().open.is_empty());
    }
}
