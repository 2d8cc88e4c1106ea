//! Writes what a batch has changed: in PostgreSQL as one statement, whatever its size; in SQLite, which has no way to go, as one
//! for each table.

use sqlx::{Any, AssertSqlSafe, Row, Transaction, query};

use super::parts::{
    EVENTS, MESSAGES, NEW_TASKS, NEW_THREADS, NO_TIMERS, PARTS, QUEUED, RECEIPTS, TASKS, THREADS, TIMERS, UNINDEXED,
    UNQUEUED, of_sqlite, whole,
};
use super::state::{State, Task, is_queued};
use crate::Error;
use crate::columns::json;
use crate::work::rows::{Asked, Lane, ReceiptRow, TaskRow, ThreadRow};
use crate::work::rowset::{Cell, Dialect, bind, parameters};

/// Milliseconds of a day.
pub(in crate::work) const DAY_MS: i64 = 86_400_000;

type Rows = Vec<Vec<Cell>>;

/// Writes all changes. Returns the transaction's number where the database has such.
pub(super) async fn save(
    tx: &mut Transaction<'static, Any>,
    dialect: Dialect,
    state: &State,
) -> Result<Option<String>, Error> {
    let rows = changes(state)?;
    match dialect {
        Dialect::Postgres => {
            let mut statement = query(AssertSqlSafe(whole()));
            for (part, rows) in PARTS.iter().zip(&rows) {
                statement = bind(statement, parameters(dialect, part.columns, rows));
            }
            Ok(Some(statement.fetch_one(&mut **tx).await?.try_get("number")?))
        }
        Dialect::Sqlite => {
            // Deletions first, as if all happened at once.
            for n in [UNQUEUED, NO_TIMERS].into_iter().chain(0..PARTS.len()) {
                let (Some(part), Some(rows)) = (PARTS.get(n), rows.get(n)) else { continue };
                if !rows.is_empty() {
                    let statement = query(AssertSqlSafe(of_sqlite(n)));
                    bind(statement, parameters(dialect, part.columns, rows)).execute(&mut **tx).await?;
                }
            }
            Ok(None)
        }
    }
}

/// The rows of each part.
fn changes(state: &State) -> Result<[Rows; 12], Error> {
    let mut rows: [Rows; 12] = Default::default();
    let mut put = |part: usize, row: Vec<Cell>| {
        if let Some(rows) = rows.get_mut(part) {
            rows.push(row);
        }
    };
    for (place, thread) in (1_u64..).zip(state.threads.values()) {
        let (part, cells) = match thread.is_new {
            true => (NEW_THREADS, new_thread(&thread.row)?),
            false => (THREADS, thread_changes(&thread.row)?),
        };
        put(part, cells);
        if thread.row.last_message > thread.before {
            put(
                UNINDEXED,
                vec![
                    thread.row.id.as_str().into(),
                    (thread.before + 1).into(),
                    thread.row.last_message.into(),
                    place.into(),
                ],
            );
        }
    }
    let tasks: Vec<&Task> = state.tasks.values().filter(|task| task.changed).collect();
    for task in &tasks {
        match task.is_new {
            true => put(NEW_TASKS, new_task(&task.row)?),
            false => put(TASKS, task_changes(&task.row)?),
        }
        if task.was_queued && !is_queued(&task.row) {
            put(UNQUEUED, vec![task.row.id.as_str().into()]);
        }
    }
    let mut queued: Vec<&Task> =
        tasks.iter().copied().filter(|task| !task.was_queued && is_queued(&task.row)).collect();
    queued.sort_unstable_by_key(|task| task.place);
    for (place, Task { row, .. }) in (1_u64..).zip(queued) {
        let lane = Lane { organization: row.organization.clone(), agent: row.agent.clone() }.text();
        put(
            QUEUED,
            vec![
                row.id.as_str().into(),
                lane.into(),
                i64::from(-row.priority).into(),
                state.now_ms.into(),
                place.into(),
            ],
        );
    }
    for row in &state.messages {
        let content = json(&row.content)?;
        let (thread, task) = (row.thread.as_str().into(), row.task.as_str().into());
        put(MESSAGES, vec![thread, row.seq.into(), task, row.role.name().into(), content.into(), row.at_ms.into()]);
    }
    for row in &state.events {
        let data = json(&row.data)?;
        let (thread, task) = (row.thread.as_str().into(), row.task.as_str().into());
        put(EVENTS, vec![thread, row.id.into(), task, row.kind.name().into(), data.into(), row.at_ms.into()]);
    }
    for (row, changed) in state.receipts.values() {
        if *changed {
            put(RECEIPTS, receipt(row)?);
        }
    }
    for ((task, kind, call), at) in &state.timers {
        let key = || vec![task.as_str().into(), (*kind).into(), call.as_str().into()];
        match at {
            Some(at) => put(TIMERS, [key(), vec![(*at).into()]].concat()),
            None => put(NO_TIMERS, key()),
        }
    }
    Ok(rows)
}

fn maybe(id: Option<&str>) -> Cell {
    id.unwrap_or_default().into()
}

fn new_thread(row: &ThreadRow) -> Result<Vec<Cell>, Error> {
    Ok(vec![
        row.id.as_str().into(),
        row.organization.as_str().into(),
        row.agent.as_str().into(),
        row.api_key.as_str().into(),
        row.title.as_str().into(),
        row.person.as_str().into(),
        maybe(row.forked_from.as_ref().map(|id| id.as_str())),
        maybe(row.active.as_ref().map(|id| id.as_str())),
        row.waiting.into(),
        row.last_event.into(),
        row.last_message.into(),
        json(&row.state)?.into(),
        row.created_at_ms.into(),
        row.updated_at_ms.into(),
        (row.updated_at_ms / DAY_MS).into(),
    ])
}

fn thread_changes(row: &ThreadRow) -> Result<Vec<Cell>, Error> {
    Ok(vec![
        row.id.as_str().into(),
        maybe(row.active.as_ref().map(|id| id.as_str())),
        row.waiting.into(),
        row.last_event.into(),
        row.last_message.into(),
        json(&row.state)?.into(),
        row.updated_at_ms.into(),
        (row.updated_at_ms / DAY_MS).into(),
    ])
}

fn maybe_json<T: serde::Serialize>(value: Option<&T>) -> Result<Cell, Error> {
    value.map_or(Ok(Cell::Null), |value| Ok(json(value)?.into()))
}

fn new_task(row: &TaskRow) -> Result<Vec<Cell>, Error> {
    Ok(vec![
        row.id.as_str().into(),
        row.organization.as_str().into(),
        row.agent.as_str().into(),
        row.agent_version.as_str().into(),
        row.thread.as_str().into(),
        row.api_key.as_str().into(),
        row.scopes.as_str().into(),
        row.status.name().into(),
        row.why.map_or("", |why| why.name()).into(),
        row.detail.as_str().into(),
        json(&row.request)?.into(),
        row.result.as_deref().into(),
        maybe_json(row.output.as_ref())?,
        maybe_json(row.problem.as_ref())?,
        row.title.as_str().into(),
        row.source.as_str().into(),
        i64::from(row.priority).into(),
        row.deadline_ms.into(),
        maybe(row.parent.as_ref().map(|id| id.as_str())),
        row.parent_call.as_str().into(),
        row.root.as_str().into(),
        i64::from(row.depth).into(),
        row.turn.into(),
        json(&row.metadata)?.into(),
        row.finished_at_ms.into(),
        row.created_at_ms.into(),
        row.updated_at_ms.into(),
    ])
}

fn task_changes(row: &TaskRow) -> Result<Vec<Cell>, Error> {
    let asked = match row.asked {
        Some(Asked::Stop) => "stop",
        Some(Asked::Pause) => "pause",
        None => "",
    };
    Ok(vec![
        row.id.as_str().into(),
        row.status.name().into(),
        row.why.map_or("", |why| why.name()).into(),
        row.detail.as_str().into(),
        row.result.as_deref().into(),
        maybe_json(row.output.as_ref())?,
        maybe_json(row.problem.as_ref())?,
        row.deadline_ms.into(),
        row.turn.into(),
        maybe(row.lease.as_ref().map(|lease| lease.worker.as_str())),
        row.lost.into(),
        row.retries.into(),
        asked.into(),
        i64::from(row.woken).into(),
        row.used.steps.into(),
        row.used.prompt_tokens.into(),
        row.used.completion_tokens.into(),
        row.used.cache_read_tokens.into(),
        row.used.cache_write_tokens.into(),
        row.used.cost.into(),
        row.used.worked_ms.into(),
        json(&row.used_tools)?.into(),
        row.paused_at_ms.into(),
        row.finished_at_ms.into(),
        row.updated_at_ms.into(),
    ])
}

fn receipt(row: &ReceiptRow) -> Result<Vec<Cell>, Error> {
    Ok(vec![
        row.task.as_str().into(),
        row.call.as_str().into(),
        row.step.into(),
        row.place.into(),
        row.tool.as_str().into(),
        row.arguments.as_str().into(),
        row.digest.as_str().into(),
        row.state.name().into(),
        i64::from(row.repeatable).into(),
        maybe_json(row.result.as_ref())?,
        maybe(row.child.as_ref().map(|id| id.as_str())),
        row.message.as_str().into(),
        row.on_timeout.as_str().into(),
        row.expires_at_ms.into(),
        row.decided_by.as_str().into(),
        row.note.as_str().into(),
        row.created_at_ms.into(),
        row.updated_at_ms.into(),
    ])
}
