//! The connections on which no request with a valid key has come yet, oldest first. They are closed first when there is
//! no room for another connection.
//!
//! Never closes a connection that is known, and never judges a key: the API marks the connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use cofferdam_api::Known;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The open connections that may be strangers'. Known ones are passed over when a place is needed.
#[derive(Default)]
pub(super) struct Strangers(Mutex<Listed>);

#[derive(Default)]
struct Listed {
    next: u64,
    /// By age.
    open: BTreeMap<u64, (Known, CancellationToken)>,
}

/// A connection's entry, removed on drop.
pub(super) struct Entry {
    strangers: Arc<Strangers>,
    number: u64,
    known: Known,
    closing: CancellationToken,
}

impl Strangers {
    /// Lists a new connection.
    pub(super) fn add(self: &Arc<Self>) -> Entry {
        let (known, closing) = (Known::default(), CancellationToken::new());
        let mut listed = self.0.lock();
        let number = listed.next;
        listed.next = number.wrapping_add(1);
        listed.open.insert(number, (known.clone(), closing.clone()));
        drop(listed);
        Entry { strangers: Arc::clone(self), number, known, closing }
    }

    /// Tells the oldest stranger's connection to close. Returns false if there is no stranger.
    pub(super) fn close_oldest(&self) -> bool {
        let mut listed = self.0.lock();
        while let Some((_, (known, closing))) = listed.open.pop_first() {
            if !known.is_marked() {
                closing.cancel();
                return true;
            }
        }
        false
    }
}

impl Entry {
    /// The mark for the connection's requests.
    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    /// Waits until the connection has to close.
    pub(super) async fn closing(&self) {
        self.closing.cancelled().await;
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
    fn the_oldest_stranger_is_closed_and_a_known_connection_is_not() {
        let strangers = Arc::new(Strangers::default());
        let [first, known, gone, last] = [(); 4].map(|()| strangers.add());
        known.known().mark();
        drop(gone);
        assert!(strangers.close_oldest());
        assert!(first.closing.is_cancelled() && !last.closing.is_cancelled());
        assert!(strangers.close_oldest());
        assert!(last.closing.is_cancelled() && !known.closing.is_cancelled());
        assert!(!strangers.close_oldest());
        drop((first, known, last));
        assert!(strangers.0.lock().open.is_empty());
    }
}
