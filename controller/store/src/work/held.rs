//! The tasks that a worker has, as the store knows it: for a worker whose hand-out was cut off.

use cofferdam_contract::{TaskId, ThreadId};
use sqlx::query;

use super::rows::Lease;
use crate::columns::Columns as _;
use crate::{Error, Store};

/// The most tasks that are read.
const MAX_READ: i64 = 10_000;

impl Store {
    /// The tasks that a worker has, with their threads and leases.
    pub async fn held_by(&self, worker: &str) -> Result<Vec<(TaskId, ThreadId, Lease)>, Error> {
        let sql = "SELECT id, thread, attempt FROM tasks WHERE worker = $1 AND worker <> '' LIMIT $2";
        let rows = query(sql).bind(worker).bind(MAX_READ).fetch_all(&self.pool).await?;
        let read = |row| -> Result<_, sqlx::Error> {
            let row: &sqlx::any::AnyRow = row;
            let lease = Lease { worker: worker.to_owned(), attempt: row.count("attempt")? };
            Ok((row.id("id")?, row.id("thread")?, lease))
        };
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }
}
