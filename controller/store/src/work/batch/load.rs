//! Reads the rows that a batch works on, and locks them: threads first, then tasks, each in the order of their ids, so that no
//! two batches wait for each other.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use cofferdam_contract::{OrganizationId, TaskId};
use sqlx::{Any, AssertSqlSafe, Transaction, query};

use super::ops::Op;
use super::state::{State, Task, Thread, is_queued};
use crate::Error;
use crate::columns::Columns as _;
use crate::work::decode::{self, receipt_columns, task_columns, thread_columns};
use crate::work::rowset::{Cell, Columns, Dialect, Text, bind, list, parameters, source, texts};

/// A statement in the words of each database, written once.
pub(in crate::work) struct Sql {
    sqlite: OnceLock<String>,
    postgres: OnceLock<String>,
    write: fn(Dialect) -> String,
}

impl Sql {
    pub(in crate::work) const fn new(write: fn(Dialect) -> String) -> Self {
        Self { sqlite: OnceLock::new(), postgres: OnceLock::new(), write }
    }

    pub(in crate::work) fn text(&'static self, dialect: Dialect) -> AssertSqlSafe<&'static str> {
        let text = match dialect {
            Dialect::Sqlite => &self.sqlite,
            Dialect::Postgres => &self.postgres,
        };
        AssertSqlSafe(text.get_or_init(|| (self.write)(dialect)))
    }
}

/// The words that lock what is read; SQLite has one writer anyway.
pub(in crate::work) fn locking(dialect: Dialect, table: &str) -> String {
    match dialect {
        Dialect::Sqlite => String::new(),
        Dialect::Postgres => format!(" FOR UPDATE OF {table}"),
    }
}

const IDS: Columns = &[("id", Text)];

static THREADS: Sql = Sql::new(|on| {
    format!(
        "SELECT {} FROM threads h WHERE h.id IN (SELECT v.id FROM {} UNION SELECT t.thread FROM tasks t WHERE t.id IN {}) \
         ORDER BY h.id{}",
        thread_columns!(),
        source(on, IDS, 0),
        list(on, 2),
        locking(on, "h")
    )
});

/// The tasks that are named, the parents of those that may end, and the next ones of threads in which one may end.
static TASKS: Sql = Sql::new(|on| {
    format!(
        "SELECT {columns} FROM tasks t WHERE t.id IN (SELECT n.id FROM tasks n WHERE n.id IN {named} \
         UNION SELECT p.parent FROM tasks p WHERE p.id IN {ending} AND p.parent <> '' \
         UNION SELECT (SELECT n.id FROM tasks n WHERE n.thread = h.id AND n.turn > a.turn AND n.status || '' = 'pending' \
         AND n.why = 'waits_for_thread' AND n.id NOT IN {named} ORDER BY n.turn LIMIT 1) \
         FROM threads h JOIN tasks a ON a.id = h.active WHERE h.id IN {threads}) ORDER BY t.id{lock}",
        columns = task_columns!(),
        named = list(on, 1),
        ending = list(on, 2),
        threads = list(on, 3),
        lock = locking(on, "t")
    )
});

/// Receipts that are named, and those of sub-agents.
static RECEIPTS: Sql = Sql::new(|on| {
    format!(
        "SELECT {columns} FROM {named} JOIN receipts r ON r.task = v.task AND r.call = v.call UNION ALL \
         SELECT {columns} FROM receipts r WHERE r.task IN {parents} AND r.state = 'child'",
        columns = receipt_columns!(),
        named = source(on, CALLS, 0),
        parents = list(on, parameter_count(on, CALLS) + 1)
    )
});
const CALLS: Columns = &[("task", Text), ("call", Text)];

static UNFINISHED: Sql = Sql::new(|on| {
    format!(
        "SELECT t.organization, count(*) AS number FROM tasks t WHERE t.organization IN {} \
         AND t.status IN ('pending', 'executing', 'paused') GROUP BY t.organization",
        list(on, 1)
    )
});

fn parameter_count(dialect: Dialect, columns: Columns) -> usize {
    match dialect {
        Dialect::Sqlite => 1,
        Dialect::Postgres => columns.len(),
    }
}

/// Reads and locks what the operations need.
pub(super) async fn load(
    tx: &mut Transaction<'static, Any>,
    dialect: Dialect,
    ops: &[Op<'_>],
    now_ms: i64,
) -> Result<State, Error> {
    let mut state = State { now_ms, ..State::default() };
    let mut named: BTreeSet<&TaskId> = ops.iter().map(Op::task).collect();
    named.extend(ops.iter().filter_map(|op| op.call().map(|(task, _)| task)));
    let ids = || named.iter().map(|id| id.as_str());
    let threads: BTreeSet<&str> = ops.iter().filter_map(|op| Some(op.thread()?.as_str())).collect();
    let unknown = ops.iter().filter(|op| op.thread().is_none()).map(|op| op.task().as_str());
    let threads: Vec<Vec<Cell>> = threads.into_iter().map(|id| vec![Cell::from(id)]).collect();
    let statement = bind(query(THREADS.text(dialect)), parameters(dialect, IDS, &threads));
    let statement = statement.bind(texts(dialect, unknown));
    for row in statement.fetch_all(&mut **tx).await? {
        let row = decode::thread(&row)?;
        let before = row.last_message;
        state.threads.insert(row.id.clone(), Thread { row, is_new: false, before });
    }
    let ending: BTreeSet<&TaskId> = ops.iter().filter(|op| op.may_end()).map(Op::task).collect();
    let with_next = state.threads.values().filter(|thread| thread.row.waiting > 0 && !ending.is_empty());
    let statement = query(TASKS.text(dialect))
        .bind(texts(dialect, ids()))
        .bind(texts(dialect, ending.iter().map(|id| id.as_str())))
        .bind(texts(dialect, with_next.map(|thread| thread.row.id.as_str())));
    for row in statement.fetch_all(&mut **tx).await? {
        let row = decode::task(&row)?;
        let was_queued = is_queued(&row);
        state.tasks.insert(row.id.clone(), Task { row, is_new: false, changed: false, was_queued, place: 0 });
    }
    let parents: BTreeSet<TaskId> =
        ending.iter().filter_map(|id| state.task(id)?.parent.clone()).filter(|id| state.task(id).is_some()).collect();
    load_receipts(tx, dialect, ops, &parents, &mut state).await?;
    Ok(state)
}

async fn load_receipts(
    tx: &mut Transaction<'static, Any>,
    dialect: Dialect,
    ops: &[Op<'_>],
    parents: &BTreeSet<TaskId>,
    state: &mut State,
) -> Result<(), Error> {
    let calls: BTreeSet<(&TaskId, &str)> = ops.iter().filter_map(Op::call).collect();
    if calls.is_empty() && parents.is_empty() {
        return Ok(());
    }
    let calls: Vec<Vec<Cell>> =
        calls.into_iter().map(|(task, call)| vec![Cell::from(task.as_str()), Cell::from(call)]).collect();
    let statement = bind(query(RECEIPTS.text(dialect)), parameters(dialect, CALLS, &calls));
    let statement = statement.bind(texts(dialect, parents.iter().map(TaskId::as_str)));
    for row in statement.fetch_all(&mut **tx).await? {
        let row = decode::receipt(&row)?;
        state.receipts.insert((row.task.clone(), row.call.clone()), (row, false));
    }
    Ok(())
}

/// Counts unfinished tasks.
pub(super) async fn count_unfinished(
    tx: &mut Transaction<'static, Any>,
    dialect: Dialect,
    organizations: &BTreeSet<&OrganizationId>,
) -> Result<HashMap<OrganizationId, u64>, Error> {
    let statement = query(UNFINISHED.text(dialect));
    let statement = statement.bind(texts(dialect, organizations.iter().map(|id| id.as_str())));
    let rows = statement.fetch_all(&mut **tx).await?;
    let mut numbers = HashMap::with_capacity(rows.len());
    for row in &rows {
        numbers.insert(row.id("organization")?, row.count("number")?);
    }
    Ok(numbers)
}
