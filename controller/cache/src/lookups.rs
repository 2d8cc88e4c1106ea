//! Small values by key that are looked up often and may be lost at any time. Never the only place that knows a thing.
//!
//! Kept in memory, and in Redis where there is one, so that what one process sets another finds. While Redis is slow or gone
//! each process finds what it has set or found itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::Expiry;
use moka::sync::Cache;

use crate::server::Server;

/// Bytes of keys and values that a process keeps.
const MAX_BYTES: u64 = 16 << 20;
/// The longest value, in bytes. A longer one is not kept.
const MAX_VALUE: usize = 64 << 10;
/// The longest life of a value.
const MAX_TTL: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone)]
struct Kept {
    value: Bytes,
    ttl: Duration,
}

/// Each value lives as long as its setter said.
struct OwnTtl;

impl Expiry<Box<str>, Kept> for OwnTtl {
    fn expire_after_create(&self, _: &Box<str>, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.ttl)
    }

    fn expire_after_update(&self, _: &Box<str>, kept: &Kept, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(kept.ttl)
    }
}

/// Values by key. A value is a hint: it may be missing, and for a moment it may be an old one.
#[derive(Debug)]
pub struct Lookups {
    kept: Cache<Box<str>, Kept>,
    server: Option<Arc<Server>>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.value.len())
    }
}

impl Lookups {
    pub(crate) fn new(server: Option<Arc<Server>>) -> Self {
        #[expect(clippy::borrowed_box, reason = "the cache hands out a reference to its key as it is")]
        let weigh = |key: &Box<str>, kept: &Kept| {
            u32::try_from(key.len().saturating_add(kept.value.len()).saturating_add(64)).unwrap_or(u32::MAX)
        };
        Self { kept: Cache::builder().max_capacity(MAX_BYTES).weigher(weigh).expire_after(OwnTtl).build(), server }
    }

    /// The value of a key, if somebody has set one and it is not too old.
    pub async fn get(&self, key: &str) -> Option<Bytes> {
        if let Some(server) = &self.server
            && let Some(answer) = server.get(key).await
        {
            let Some((value, ttl)) = answer else {
                self.kept.invalidate(key);
                return None;
            };
            self.keep(key, value.clone(), ttl);
            return Some(value);
        }
        self.kept.get(key).map(|kept| kept.value)
    }

    /// Sets the value of a key for a time.
    pub async fn set(&self, key: &str, value: Bytes, ttl: Duration) {
        if value.len() > MAX_VALUE || ttl.is_zero() {
            return self.delete(key).await;
        }
        let ttl = ttl.min(MAX_TTL);
        self.keep(key, value.clone(), ttl);
        if let Some(server) = &self.server {
            server.set(key, &value, ttl).await;
        }
    }

    /// Forgets a key.
    pub async fn delete(&self, key: &str) {
        self.kept.invalidate(key);
        if let Some(server) = &self.server {
            server.delete(key).await;
        }
    }

    fn keep(&self, key: &str, value: Bytes, ttl: Duration) {
        self.kept.insert(key.into(), Kept { value, ttl });
    }
}
