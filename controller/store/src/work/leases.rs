//! Workers and their beats. A worker that stops beating loses its tasks to others.
//!
//! Ends of beats are written and compared by the database's own clock where it has one, so that no controller's clock counts.

use cofferdam_contract::TaskId;
use cofferdam_core::now_ms;
use sqlx::{Row, query};

use super::batch::{Op, Sql, within};
use super::queue::NOW;
use super::rows::Written;
use super::rowset::Dialect;
use crate::columns::Columns as _;
use crate::{Error, Store};

/// Tasks that are taken back in one batch.
const MAX_TAKEN: i64 = 256;

/// The time in a statement: PostgreSQL's own, or a parameter (which PostgreSQL is given, too, and does not look at).
fn clock(dialect: Dialect, number: usize) -> String {
    match dialect {
        Dialect::Postgres => format!("({NOW} + 0 * CAST(${number} AS BIGINT))"),
        Dialect::Sqlite => format!("${number}"),
    }
}

static JOIN: Sql = Sql::new(|on| {
    let now = clock(on, 2);
    format!(
        "INSERT INTO work_workers (id, beat_until_ms, started_at_ms) VALUES ($1, {now} + $3, {now}) ON CONFLICT (id) DO NOTHING"
    )
});
static BEAT: Sql = Sql::new(|on| {
    let now = clock(on, 2);
    format!("UPDATE work_workers SET beat_until_ms = {now} + $3 WHERE id = $1 AND beat_until_ms > {now}")
});
static DEAD: Sql = Sql::new(|on| {
    format!(
        "SELECT t.id, t.worker FROM work_workers w JOIN tasks t ON t.worker = w.id AND t.worker <> '' \
         WHERE w.beat_until_ms <= {} LIMIT $2",
        clock(on, 1)
    )
});
static BURY: Sql = Sql::new(|on| {
    format!(
        "DELETE FROM work_workers WHERE beat_until_ms <= {} \
         AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.worker = work_workers.id AND t.worker <> '')",
        clock(on, 1)
    )
});

impl Store {
    /// A new worker process, alive for so long.
    pub async fn join_work(&self, worker: &str, for_ms: i64) -> Result<(), Error> {
        let statement = query(JOIN.text(self.dialect())).bind(worker).bind(now_ms()).bind(for_ms);
        statement.execute(&self.work.pool).await?;
        Ok(())
    }

    /// Lives on for so long. Returns false if it is too late: its tasks are others' now, or will be.
    pub async fn beat(&self, worker: &str, for_ms: i64) -> Result<bool, Error> {
        let statement = query(BEAT.text(self.dialect())).bind(worker).bind(now_ms()).bind(for_ms);
        within(async { Ok(statement.execute(&self.work.pool).await?.rows_affected() == 1) }).await
    }

    /// A worker ends: what it still has is handed out again, up to 256 tasks at a time.
    pub async fn leave(&self, worker: &str) -> Result<Vec<Written>, Error> {
        // No more tasks from now on.
        query("UPDATE work_workers SET beat_until_ms = 0 WHERE id = $1").bind(worker).execute(&self.work.pool).await?;
        let sql = "SELECT id FROM tasks WHERE worker = $1 AND worker <> '' LIMIT $2";
        let rows = query(sql).bind(worker).bind(MAX_TAKEN).fetch_all(&self.work.pool).await?;
        let mut ops = Vec::with_capacity(rows.len());
        for row in &rows {
            ops.push(Op::Release { task: row.id("id")?, worker: worker.to_owned() });
        }
        self.apply(&ops).await
    }

    /// Takes tasks from dead workers, up to 256 at a time. One that was lost more than `max_lost` times without a step in between
    /// ends as poison.
    pub async fn take_back(&self, max_lost: u64) -> Result<Vec<Written>, Error> {
        let dialect = self.dialect();
        let rows = query(DEAD.text(dialect)).bind(now_ms()).bind(MAX_TAKEN).fetch_all(&self.work.pool).await?;
        if rows.is_empty() {
            query(BURY.text(dialect)).bind(now_ms()).execute(&self.work.pool).await?;
            return Ok(Vec::new());
        }
        let mut ops = Vec::with_capacity(rows.len());
        for row in &rows {
            let task: TaskId = row.id("id")?;
            ops.push(Op::TakeBack { task, worker: row.try_get("worker")?, max_lost });
        }
        self.apply(&ops).await
    }
}
