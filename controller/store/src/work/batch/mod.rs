//! Batches: many operations of many tasks in one transaction.
//!
//! The rows that the operations touch are read and locked (`load.rs`), changed in memory by plain rules (`ops.rs`, `state.rs`),
//! and written back (`save.rs`): a handful of round trips, whatever the number of operations.

mod keys;
mod load;
mod ops;
mod parts;
mod room;
mod save;
mod state;
mod steps;

use std::time::Duration;

use cofferdam_core::now_ms;
use sqlx::{Any, Transaction, query_scalar};

use self::keys::Keys;
pub(super) use self::load::{Sql, locking};
pub(super) use self::ops::Op;
pub(crate) use self::room::Counts;
use self::room::Room;
pub(super) use self::save::DAY_MS;
pub(super) use self::state::{CHILDREN, DEADLINE, EXPIRY, READY};
use super::rows::{Write, Written};
use super::rowset::Dialect;
use crate::{Error, Store};

/// The timeout for what the database is asked: a connection whose other end is gone may never say so.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(45);

/// Waits for an answer of the database, and not for ever.
pub(super) async fn within<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into()),
    }
}

impl Store {
    /// Carries out operations of many tasks, in their order, in one transaction. One whose fence fails is skipped.
    ///
    /// # Errors
    /// Nothing was written. [`Error::is_repeatable`] says whether the same batch may succeed when it is repeated.
    pub async fn write_work(&self, writes: &[Write]) -> Result<Vec<Written>, Error> {
        let ops: Vec<Op<'_>> = writes.iter().map(Op::Write).collect();
        self.apply(&ops).await
    }

    /// Carries out operations of any kind.
    pub(super) async fn apply(&self, ops: &[Op<'_>]) -> Result<Vec<Written>, Error> {
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        let (tx, number, written) = within(self.prepare(ops)).await?;
        self.commit(tx, number).await?;
        Ok(written)
    }

    /// Carries out operations, up to the commit.
    async fn prepare(
        &self,
        ops: &[Op<'_>],
    ) -> Result<(Transaction<'static, Any>, Option<String>, Vec<Written>), Error> {
        let dialect = self.work.dialect;
        let now = now_ms();
        let mut tx = self.work.pool.begin().await?;
        let keys = Keys::take(&mut tx, dialect, ops, now).await?;
        let mut state = load::load(&mut tx, dialect, ops, now).await?;
        let mut room = Room::look(&mut tx, dialect, &self.work.counts, ops).await?;
        let mut written = Vec::with_capacity(ops.len());
        for op in ops {
            written.push(match keys.before(op) {
                Some(before) => before,
                None if !room.has(op) && state.task(op.task()).is_none() => Written::Full,
                None => {
                    let is_new = state.task(op.task()).is_none();
                    let outcome = ops::carry_out(&mut state, op);
                    if is_new && matches!(outcome, Written::Done { .. }) {
                        room.take(op);
                    }
                    outcome
                }
            });
        }
        keys.give_back(&mut tx, dialect, ops, &mut written).await?;
        let number = save::save(&mut tx, dialect, &state).await?;
        Ok((tx, number, written))
    }

    /// Commits. If the connection is lost meanwhile, the database is asked what became of it.
    async fn commit(&self, tx: Transaction<'static, Any>, number: Option<String>) -> Result<(), Error> {
        let Err(error) = within(async { Ok(tx.commit().await?) }).await else { return Ok(()) };
        let Some(number) = number.filter(|_| error.is_unavailable()) else { return Err(error) };
        match self.committed(&number).await {
            Some(true) => Ok(()),
            _ => Err(error),
        }
    }

    /// Asks whether a transaction was committed, for as long as it may take a server to restart. `None` if that stays unknown.
    async fn committed(&self, number: &str) -> Option<bool> {
        /// The number of times that it is asked, a second apart.
        const TRIES: u32 = 30;
        for _ in 0..TRIES {
            let sql = "SELECT pg_xact_status(CAST($1 AS xid8))";
            match query_scalar::<_, Option<String>>(sql).bind(number).fetch_one(&self.work.pool).await.ok().flatten() {
                Some(status) if status == "committed" => return Some(true),
                Some(status) if status == "aborted" => return Some(false),
                _ => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
        None
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.work.dialect
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cofferdam_contract::work::{Content, Role};
    use cofferdam_contract::{TaskId, ThreadId};
    use sqlx::query;

    use super::super::rows::{Lease, NewMessage, Step, Turn, Used, Write, Written};
    use crate::{DatabaseConfig, Store};

    /// The only connection of SQLite is given so many pages, which is what a full disk looks like.
    #[tokio::test]
    async fn a_full_disk_refuses_the_batch_and_leaves_everything_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&DatabaseConfig::sqlite(&folder.path().join("a.db"))).await.unwrap();
        for sql in [
            "INSERT INTO threads VALUES ('thread_1', 'org_1', 'a', 'k', '', '', '', 'task_1', 0, 0, 0, '{}', 0, 0, 0)",
            "INSERT INTO tasks (id, organization, agent, agent_version, thread, api_key, scopes, status, why, detail, request, \
             title, source, priority, parent, parent_call, root, depth, turn, worker, attempt, lost, retries, asked, woken, \
             steps, prompt_tokens, completion_tokens, cache_read_tokens, cache_write_tokens, cost, worked_ms, used_tools, \
             metadata, created_at_ms, updated_at_ms) VALUES ('task_1', 'org_1', 'a', '1', 'thread_1', 'k', '', 'executing', \
             '', '', '{\"input\": \"x\"}', '', '', 0, '', '', 'task_1', 0, 1, 'w', 1, 0, 0, '', 0, 0, 0, 0, 0, 0, 0, 0, '[]', \
             '{}', 0, 0)",
            "PRAGMA max_page_count = 200",
        ] {
            query(sql).execute(&store.pool).await.unwrap();
        }
        let content = |length: usize| Content { text: "x".repeat(length), ..Content::default() };
        let step = |length: usize| Step {
            task: TaskId::parse("task_1").unwrap(),
            thread: ThreadId::parse("thread_1").unwrap(),
            lease: Lease { worker: "w".to_owned(), attempt: 1 },
            messages: vec![NewMessage { role: Role::Assistant, content: content(length) }],
            events: Vec::new(),
            receipts: Vec::new(),
            used: Used { steps: 1, ..Used::default() },
            used_tools: Vec::new(),
            state: BTreeMap::new(),
            turn: Turn::Goes,
        };
        let error = store.write_work(&[Write::Step(Box::new(step(2 << 20)))]).await.unwrap_err();
        assert!(cofferdam_core::used_up(&error).is_some_and(|what| what.contains("disk")), "{error:?}");
        assert!(!error.is_repeatable() && !error.is_unavailable());
        let written = store.write_work(&[Write::Step(Box::new(step(10)))]).await.unwrap();
        assert!(matches!(written[..], [Written::Done { message: 1, .. }]), "{written:?}");
        store.close().await;
    }
}
