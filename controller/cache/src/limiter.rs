//! Rates: how often a key may do something. Counts exactly within this process, and across all of them where there is a Redis.
//!
//! GCRA: of each key one time is kept, the one at which it would be as if it had never asked. While Redis is slow or gone each
//! process counts by itself.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::metrics::CacheMetrics;
use crate::server::Server;

mod table;

use table::Table;

/// Parts of the table, each with a lock of its own.
const SHARDS: usize = 16;
/// The answer to a rate of nothing.
const NEVER: Duration = Duration::from_secs(60);
/// Microseconds in a minute.
const MINUTE_US: u64 = 60_000_000;

/// The number of requests that a key may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The rate in the long run; 0 allows nothing.
    pub per_minute: u32,
    /// The number that may come at once, at least 1.
    pub burst: u32,
}

impl Rate {
    /// The rate that lets through a sixth of a minute's number at once.
    pub fn per_minute(per_minute: u32) -> Self {
        Self { per_minute, burst: (per_minute / 6).max(1) }
    }

    /// Microseconds from one request to the next; `None` if nothing is allowed.
    fn interval_us(self) -> Option<u64> {
        MINUTE_US.checked_div(u64::from(self.per_minute)).map(|interval| interval.max(1))
    }

    /// Microseconds of requests that may come at once.
    fn tolerance_us(self, interval: u64) -> u64 {
        interval.saturating_mul(u64::from(self.burst.max(1)))
    }
}

/// Too many: when to come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter(pub Duration);

impl RetryAfter {
    /// Whole seconds for a `Retry-After` header, rounded up, at least 1.
    pub fn seconds(self) -> u64 {
        self.0.as_secs().saturating_add(u64::from(self.0.subsec_nanos() > 0)).max(1)
    }
}

/// Counts requests by key.
#[derive(Debug)]
pub struct Limiter {
    shards: [Mutex<Table>; SHARDS],
    hasher: RandomState,
    begun: Instant,
    server: Option<Arc<Server>>,
    metrics: CacheMetrics,
}

impl Limiter {
    pub(crate) fn new(server: Option<Arc<Server>>, metrics: CacheMetrics) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            begun: Instant::now(),
            server,
            metrics,
        }
    }

    /// Takes one request of a key's rate. In memory it returns at once, without a wait.
    ///
    /// # Errors
    /// The rate is used up. Such a request counts for nothing.
    pub async fn check(&self, key: &str, rate: Rate) -> Result<(), RetryAfter> {
        let Some(interval) = rate.interval_us() else { return Err(RetryAfter(NEVER)) };
        let tolerance = rate.tolerance_us(interval);
        // Nobody has asked more than all processes together: what is refused here would be refused there.
        self.take(key, interval, tolerance)?;
        let Some(server) = &self.server else { return Ok(()) };
        match server.take(key, interval, tolerance).await {
            Some(0) => Ok(()),
            Some(wait) => {
                self.refused(key, interval, tolerance, wait);
                Err(RetryAfter(Duration::from_micros(wait)))
            }
            None => {
                self.metrics.alone();
                Ok(())
            }
        }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn shard(&self, key: &str) -> (u64, Option<&Mutex<Table>>) {
        let hash = self.hasher.hash_one(key);
        let at = usize::try_from(hash >> 32).unwrap_or_default() % SHARDS;
        (hash, self.shards.get(at))
    }

    /// Takes one request here.
    fn take(&self, key: &str, interval: u64, tolerance: u64) -> Result<(), RetryAfter> {
        let now = self.now_us();
        let (hash, Some(shard)) = self.shard(key) else { return Ok(()) };
        shard.lock().take(hash, now, interval, tolerance).map_err(|wait| RetryAfter(Duration::from_micros(wait)))
    }

    /// Keeps what all processes together have decided, so that this one does not ask again before then.
    fn refused(&self, key: &str, interval: u64, tolerance: u64, wait: u64) {
        let now = self.now_us();
        let (hash, Some(shard)) = self.shard(key) else { return };
        shard.lock().put(hash, now, now.saturating_add(tolerance).saturating_add(wait).saturating_sub(interval));
    }
}

#[cfg(test)]
mod tests;
