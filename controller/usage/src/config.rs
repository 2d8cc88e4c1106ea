//! Settings, and the clock that tests set.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use cofferdam_core::now_ms;

/// Unix time, in milliseconds.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    #[default]
    System,
    /// Stands still until it is set.
    Set(Arc<AtomicI64>),
}

impl Clock {
    pub fn now_ms(&self) -> i64 {
        match self {
            Self::System => now_ms(),
            Self::Set(time) => time.load(Ordering::Relaxed),
        }
    }
}

/// Settings of usage.
#[derive(Debug, Clone)]
pub struct UsageConfig {
    /// Days that records are kept; 0 keeps them for ever. `COFFERDAM_USAGE_DAYS`.
    pub keep_days: u32,
    /// Days that contents are kept; 0 keeps them for ever.
    pub content_keep_days: u32,
    /// True if no other process uses the database, as with SQLite: whole budgets are leased then, and what an earlier
    /// process has leased is free at once.
    pub alone: bool,
    /// The most records that wait for the store.
    pub max_waiting: usize,
    pub clock: Clock,
}

impl Default for UsageConfig {
    fn default() -> Self {
        Self { keep_days: 90, content_keep_days: 30, alone: false, max_waiting: 50_000, clock: Clock::System }
    }
}
