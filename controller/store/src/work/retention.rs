//! The end of threads: deleted by a person, or because nobody has used them for long. And their forks.
//!
//! A thread disappears in one transaction; its messages and events, which may be many, are deleted in pieces afterwards. What a
//! process that ends meanwhile leaves belongs to no organization, and the next sweep finds it.

use cofferdam_contract::{OrganizationId, ThreadId};
use cofferdam_core::now_ms;
use sqlx::{query, query_scalar};

use super::batch::{DAY_MS, Sql, locking};
use super::decode::{self, thread_columns};
use super::rows::ThreadRow;
use super::rowset::Dialect;
use super::search;
use crate::columns::{Columns as _, signed};
use crate::{Error, Store};

/// Rows that are deleted or copied in one statement.
const PIECE: i64 = 2_000;
/// Messages of a fork that the index takes at once.
const INDEXED_AT_ONCE: u64 = 200;

/// The outcome of deleting a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadDeleted {
    Done,
    Missing,
    /// A task of it has not ended.
    Busy,
}

/// The outcome of forking a thread.
#[derive(Debug, Clone, PartialEq)]
pub enum Forked {
    Done(Box<ThreadRow>),
    Missing,
}

static LOCKED: Sql = Sql::new(|on| {
    format!("SELECT {} FROM threads h WHERE h.id = $1 AND h.organization = $2{}", thread_columns!(), locking(on, "h"))
});

static UNINDEXED: Sql = Sql::new(|on| {
    let number = match on {
        Dialect::Postgres => "nextval('task_positions')",
        Dialect::Sqlite => "(SELECT coalesce(max(q.number), 0) + 1 FROM messages_unindexed q)",
    };
    format!("INSERT INTO messages_unindexed (number, thread, first, last) VALUES ({number}, $1, $2, $3)")
});

impl Store {
    /// Copies a thread's messages, up to a number, into a new thread `to`. What the loop kept with the thread is in the new one's
    /// state under `forked`: it is the other's, to be copied before it is used.
    pub async fn fork_thread(
        &self,
        organization: &OrganizationId,
        thread: &ThreadId,
        up_to: u64,
        to: &ThreadId,
        api_key: &str,
    ) -> Result<Forked, Error> {
        let now = now_ms();
        let mut tx = self.pool.begin().await?;
        let statement = query(LOCKED.text(self.dialect())).bind(thread.as_str()).bind(organization.as_str());
        let Some(from) = statement.fetch_optional(&mut *tx).await? else { return Ok(Forked::Missing) };
        let from = decode::thread(&from)?;
        let last = up_to.min(from.last_message);
        let state = serde_json::json!({ "forked": from.state });
        let sql = "INSERT INTO threads (id, organization, agent, api_key, title, person, forked_from, active, waiting, last_event, \
                   last_message, state, created_at_ms, updated_at_ms, used_day) SELECT $1, organization, agent, $2, title, person, \
                   id, '', 0, 0, $3, $4, $5, $5, $6 FROM threads WHERE id = $7";
        let statement = query(sql).bind(to.as_str()).bind(api_key).bind(signed(last)).bind(state.to_string());
        statement.bind(now).bind(now / DAY_MS).bind(thread.as_str()).execute(&mut *tx).await?;
        let mut copied = 0;
        while copied < signed(last) {
            let sql = "INSERT INTO messages (thread, seq, task, role, content, at_ms) SELECT $1, seq, task, role, content, at_ms \
                       FROM messages WHERE thread = $2 AND seq > $3 AND seq <= $4";
            let until = signed(last).min(copied + PIECE);
            let statement = query(sql).bind(to.as_str()).bind(thread.as_str()).bind(copied).bind(until);
            statement.execute(&mut *tx).await?;
            copied = until;
        }
        let mut first = 1;
        while first <= last {
            let until = last.min(first + INDEXED_AT_ONCE - 1);
            query(UNINDEXED.text(self.dialect()))
                .bind(to.as_str())
                .bind(signed(first))
                .bind(signed(until))
                .execute(&mut *tx)
                .await?;
            first = until + 1;
        }
        tx.commit().await?;
        Ok(self.thread(organization, to).await?.map_or(Forked::Missing, |row| Forked::Done(Box::new(row))))
    }

    /// Deletes a thread with its tasks, messages, events and receipts.
    pub async fn delete_thread(
        &self,
        organization: &OrganizationId,
        thread: &ThreadId,
    ) -> Result<ThreadDeleted, Error> {
        let mut tx = self.pool.begin().await?;
        let statement = query(LOCKED.text(self.dialect())).bind(thread.as_str()).bind(organization.as_str());
        if statement.fetch_optional(&mut *tx).await?.is_none() {
            return Ok(ThreadDeleted::Missing);
        }
        let sql = "SELECT count(*) FROM tasks WHERE thread = $1 AND status IN ('pending', 'executing', 'paused')";
        if query_scalar::<_, i64>(sql).bind(thread.as_str()).fetch_one(&mut *tx).await? > 0 {
            return Ok(ThreadDeleted::Busy);
        }
        for sql in [
            "DELETE FROM receipts WHERE task IN (SELECT id FROM tasks WHERE thread = $1)",
            "DELETE FROM work_timers WHERE task IN (SELECT id FROM tasks WHERE thread = $1)",
            "DELETE FROM task_keys WHERE task IN (SELECT id FROM tasks WHERE thread = $1)",
            "DELETE FROM tasks WHERE thread = $1",
            "DELETE FROM messages_unindexed WHERE thread = $1",
            "UPDATE threads SET organization = '' WHERE id = $1",
        ] {
            query(sql).bind(thread.as_str()).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        self.delete_rest(thread).await?;
        Ok(ThreadDeleted::Done)
    }

    /// Deletes what is left of a thread, piece by piece.
    async fn delete_rest(&self, thread: &ThreadId) -> Result<(), Error> {
        for sql in [
            "DELETE FROM messages WHERE thread = $1 AND seq IN (SELECT seq FROM messages WHERE thread = $1 ORDER BY seq LIMIT $2)",
            "DELETE FROM thread_events WHERE thread = $1 \
             AND id IN (SELECT id FROM thread_events WHERE thread = $1 ORDER BY id LIMIT $2)",
        ] {
            while query(sql).bind(thread.as_str()).bind(PIECE).execute(&self.pool).await?.rows_affected() > 0 {}
        }
        search::forget(&self.pool, self.dialect(), thread).await?;
        query("DELETE FROM threads WHERE id = $1 AND organization = ''")
            .bind(thread.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Deletes up to `limit` threads whose last use was on a day before that of `unused_since_ms`, and which have no unfinished
    /// task. Returns their number.
    pub async fn sweep_threads(&self, unused_since_ms: i64, limit: u32) -> Result<u64, Error> {
        let sql = "SELECT id FROM threads WHERE organization = '' LIMIT $1";
        for row in query(sql).bind(i64::from(limit)).fetch_all(&self.pool).await? {
            self.delete_rest(&row.id("id")?).await?;
        }
        let sql = "SELECT h.id, h.organization FROM threads h WHERE h.used_day < $1 AND h.organization <> '' AND NOT EXISTS \
                   (SELECT 1 FROM tasks t WHERE t.thread = h.id AND t.status IN ('pending', 'executing', 'paused')) \
                   ORDER BY h.used_day LIMIT $2";
        let rows = query(sql).bind(unused_since_ms / DAY_MS).bind(i64::from(limit)).fetch_all(&self.pool).await?;
        let mut deleted = 0;
        for row in &rows {
            let organization: OrganizationId = row.id("organization")?;
            let done = self.delete_thread(&organization, &row.id("id")?).await?;
            deleted += u64::from(done == ThreadDeleted::Done);
        }
        Ok(deleted)
    }

    /// Deletes up to `limit` idempotency keys from before a time. Returns their number.
    pub async fn sweep_task_keys(&self, before_ms: i64, limit: u32) -> Result<u64, Error> {
        let sql = "DELETE FROM task_keys WHERE (organization, name) IN \
                   (SELECT organization, name FROM task_keys WHERE created_at_ms < $1 ORDER BY created_at_ms LIMIT $2)";
        let done = query(sql).bind(before_ms).bind(i64::from(limit)).execute(&self.pool).await?;
        Ok(done.rows_affected())
    }
}
