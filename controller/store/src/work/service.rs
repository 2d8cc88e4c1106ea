//! The connections of batches and hand-outs, and what is remembered between them.

use sqlx::AnyPool;

use super::batch::Counts;
use super::floors::Floors;
use super::queue::Poll;
use super::rowset::Dialect;
use super::timers::Due;

/// Shared by the clones of a store.
#[derive(Debug)]
pub(crate) struct Work {
    /// Connections of their own in PostgreSQL: many lists that are read at once do not keep tasks from going on.
    pub pool: AnyPool,
    pub dialect: Dialect,
    pub counts: Counts,
    /// The floors of the queue.
    pub floors: Floors,
    pub poll: Poll,
    /// The floors of messages that the index does not know yet.
    pub indexed: Floors,
    pub due: Due,
}

impl Work {
    pub(crate) fn new(pool: AnyPool, dialect: Dialect) -> Self {
        Self {
            pool,
            dialect,
            counts: Counts::default(),
            floors: Floors::default(),
            poll: Poll::default(),
            indexed: Floors::default(),
            due: Due::default(),
        }
    }
}
