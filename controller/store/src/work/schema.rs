//! Parts of the tables of agents at work that each database has in its own words: positions of the queue, the index of full text,
//! room in pages for changes, and how often the hot tables are cleaned. Carried out at each start; changes nothing the second time.

use sqlx::{AnyPool, Executor as _};

use super::rowset::Dialect;
use crate::Error;

/// PostgreSQL's advisory lock of these statements: two controllers may start at once.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7264113)";

const POSTGRES: [&str; 10] = [
    "CREATE SEQUENCE IF NOT EXISTS task_positions",
    "CREATE TABLE IF NOT EXISTS message_index (number BIGSERIAL PRIMARY KEY, thread TEXT NOT NULL, seq BIGINT NOT NULL, \
     words TSVECTOR NOT NULL)",
    "CREATE INDEX IF NOT EXISTS message_index_words ON message_index USING gin (words)",
    "CREATE INDEX IF NOT EXISTS message_index_thread ON message_index (thread)",
    "ALTER TABLE threads SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05)",
    "ALTER TABLE tasks SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05)",
    "ALTER TABLE receipts SET (fillfactor = 70)",
    "ALTER TABLE task_queue SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, \
     autovacuum_vacuum_cost_delay = 0)",
    "ALTER TABLE messages_unindexed SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, \
     autovacuum_vacuum_cost_delay = 0)",
    "ALTER TABLE work_timers SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000)",
];

const SQLITE: [&str; 1] =
    ["CREATE VIRTUAL TABLE IF NOT EXISTS message_index USING fts5(place, words, thread UNINDEXED, seq UNINDEXED, \
     tokenize = 'unicode61')"];

pub(crate) async fn prepare(pool: &AnyPool, dialect: Dialect) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    let statements: &[&'static str] = match dialect {
        Dialect::Sqlite => &SQLITE,
        Dialect::Postgres => &POSTGRES,
    };
    if dialect == Dialect::Postgres {
        tx.execute(LOCK).await?;
    }
    for statement in statements {
        tx.execute(*statement).await?;
    }
    tx.commit().await?;
    Ok(())
}
