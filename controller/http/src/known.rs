//! A connection's mark: the key of its last request. Never judges a key; whoever does marks the connection.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A connection's mark, in the extensions of its requests: the key of the last one, if that was valid. Clones share the
/// mark. Connections without it are the first to be closed when there is no room for another one.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<AtomicU64>);

/// The client's address, as an extension of its requests.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub std::net::SocketAddr);

impl Known {
    /// The last request had this key.
    pub fn mark(&self, key: &str) {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        self.0.store(hasher.finish() | 1, Ordering::Relaxed);
    }

    /// The last request had no valid key.
    pub fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// A number for the key, never 0; two keys may share one.
    pub fn key(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|key| *key != 0)
    }
}
