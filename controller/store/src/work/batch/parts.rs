//! The statements that write what a batch has changed, one for each table and kind of change.

use std::sync::OnceLock;

use crate::work::rowset::{Columns, Dialect, Int, Text, source};

/// A part of what is written; `{v}` in its statement is the source of its rows.
pub(super) struct Part {
    pub(super) columns: Columns,
    sql: &'static str,
}

const THREAD_COLUMNS: Columns = &[
    ("id", Text),
    ("organization", Text),
    ("agent", Text),
    ("api_key", Text),
    ("title", Text),
    ("person", Text),
    ("forked_from", Text),
    ("active", Text),
    ("waiting", Int),
    ("last_event", Int),
    ("last_message", Int),
    ("state", Text),
    ("created_at_ms", Int),
    ("updated_at_ms", Int),
    ("used_day", Int),
];
const THREAD_CHANGES: Columns = &[
    ("id", Text),
    ("active", Text),
    ("waiting", Int),
    ("last_event", Int),
    ("last_message", Int),
    ("state", Text),
    ("updated_at_ms", Int),
    ("used_day", Int),
];
const TASK_COLUMNS: Columns = &[
    ("id", Text),
    ("organization", Text),
    ("agent", Text),
    ("agent_version", Text),
    ("thread", Text),
    ("api_key", Text),
    ("scopes", Text),
    ("status", Text),
    ("why", Text),
    ("detail", Text),
    ("request", Text),
    ("result", Text),
    ("output", Text),
    ("problem", Text),
    ("title", Text),
    ("source", Text),
    ("priority", Int),
    ("deadline_ms", Int),
    ("parent", Text),
    ("parent_call", Text),
    ("root", Text),
    ("depth", Int),
    ("turn", Int),
    ("metadata", Text),
    ("finished_at_ms", Int),
    ("created_at_ms", Int),
    ("updated_at_ms", Int),
];
const TASK_CHANGES: Columns = &[
    ("id", Text),
    ("status", Text),
    ("why", Text),
    ("detail", Text),
    ("result", Text),
    ("output", Text),
    ("problem", Text),
    ("deadline_ms", Int),
    ("turn", Int),
    ("worker", Text),
    ("lost", Int),
    ("retries", Int),
    ("asked", Text),
    ("woken", Int),
    ("steps", Int),
    ("prompt_tokens", Int),
    ("completion_tokens", Int),
    ("cache_read_tokens", Int),
    ("cache_write_tokens", Int),
    ("cost", Int),
    ("worked_ms", Int),
    ("used_tools", Text),
    ("paused_at_ms", Int),
    ("finished_at_ms", Int),
    ("updated_at_ms", Int),
];
const RECEIPT_COLUMNS: Columns = &[
    ("task", Text),
    ("call", Text),
    ("step", Int),
    ("place", Int),
    ("tool", Text),
    ("arguments", Text),
    ("digest", Text),
    ("state", Text),
    ("repeatable", Int),
    ("result", Text),
    ("child", Text),
    ("message", Text),
    ("on_timeout", Text),
    ("expires_at_ms", Int),
    ("decided_by", Text),
    ("note", Text),
    ("created_at_ms", Int),
    ("updated_at_ms", Int),
];

pub(super) const NEW_THREADS: usize = 0;
pub(super) const THREADS: usize = 1;
pub(super) const NEW_TASKS: usize = 2;
pub(super) const TASKS: usize = 3;
pub(super) const MESSAGES: usize = 4;
pub(super) const EVENTS: usize = 5;
pub(super) const RECEIPTS: usize = 6;
pub(super) const QUEUED: usize = 7;
pub(super) const UNQUEUED: usize = 8;
pub(super) const TIMERS: usize = 9;
pub(super) const NO_TIMERS: usize = 10;
pub(super) const UNINDEXED: usize = 11;

pub(super) static PARTS: [Part; 12] = [
    Part {
        columns: THREAD_COLUMNS,
        sql: "INSERT INTO threads (id, organization, agent, api_key, title, person, forked_from, active, waiting, last_event, \
              last_message, state, created_at_ms, updated_at_ms, used_day) SELECT v.id, v.organization, v.agent, v.api_key, \
              v.title, v.person, v.forked_from, v.active, v.waiting, v.last_event, v.last_message, v.state, v.created_at_ms, \
              v.updated_at_ms, v.used_day FROM {v}",
    },
    Part {
        columns: THREAD_CHANGES,
        sql: "UPDATE threads SET active = v.active, waiting = v.waiting, last_event = v.last_event, \
              last_message = v.last_message, state = v.state, updated_at_ms = v.updated_at_ms, used_day = v.used_day \
              FROM {v} WHERE threads.id = v.id",
    },
    Part {
        columns: TASK_COLUMNS,
        sql: "INSERT INTO tasks (id, organization, agent, agent_version, thread, api_key, scopes, status, why, detail, request, \
              result, output, problem, title, source, priority, deadline_ms, parent, parent_call, root, depth, turn, metadata, \
              finished_at_ms, created_at_ms, updated_at_ms, worker, attempt, lost, retries, asked, woken, steps, prompt_tokens, \
              completion_tokens, cache_read_tokens, cache_write_tokens, cost, worked_ms, used_tools) SELECT v.id, \
              v.organization, v.agent, v.agent_version, v.thread, v.api_key, v.scopes, v.status, v.why, v.detail, v.request, \
              v.result, v.output, v.problem, v.title, v.source, v.priority, v.deadline_ms, v.parent, v.parent_call, v.root, \
              v.depth, v.turn, v.metadata, v.finished_at_ms, v.created_at_ms, v.updated_at_ms, '', 0, 0, 0, '', 0, 0, 0, 0, 0, \
              0, 0, 0, '[]' FROM {v}",
    },
    Part {
        columns: TASK_CHANGES,
        sql: "UPDATE tasks SET status = v.status, why = v.why, detail = v.detail, result = v.result, output = v.output, \
              problem = v.problem, deadline_ms = v.deadline_ms, turn = v.turn, worker = v.worker, lost = v.lost, \
              retries = v.retries, asked = v.asked, woken = v.woken, steps = v.steps, prompt_tokens = v.prompt_tokens, \
              completion_tokens = v.completion_tokens, cache_read_tokens = v.cache_read_tokens, \
              cache_write_tokens = v.cache_write_tokens, cost = v.cost, worked_ms = v.worked_ms, used_tools = v.used_tools, \
              paused_at_ms = v.paused_at_ms, finished_at_ms = v.finished_at_ms, updated_at_ms = v.updated_at_ms \
              FROM {v} WHERE tasks.id = v.id",
    },
    Part {
        columns: &[("thread", Text), ("seq", Int), ("task", Text), ("role", Text), ("content", Text), ("at_ms", Int)],
        sql: "INSERT INTO messages (thread, seq, task, role, content, at_ms) \
              SELECT v.thread, v.seq, v.task, v.role, v.content, v.at_ms FROM {v}",
    },
    Part {
        columns: &[("thread", Text), ("id", Int), ("task", Text), ("kind", Text), ("data", Text), ("at_ms", Int)],
        sql: "INSERT INTO thread_events (thread, id, task, kind, data, at_ms) \
              SELECT v.thread, v.id, v.task, v.kind, v.data, v.at_ms FROM {v}",
    },
    // An answer of a person is never overwritten by the question.
    Part {
        columns: RECEIPT_COLUMNS,
        sql: "INSERT INTO receipts (task, call, step, place, tool, arguments, digest, state, repeatable, result, child, message, \
              on_timeout, expires_at_ms, decided_by, note, created_at_ms, updated_at_ms) SELECT v.task, v.call, v.step, v.place, \
              v.tool, v.arguments, v.digest, v.state, v.repeatable, v.result, v.child, v.message, v.on_timeout, \
              v.expires_at_ms, v.decided_by, v.note, v.created_at_ms, v.updated_at_ms FROM {v} WHERE true \
              ON CONFLICT (task, call) DO UPDATE SET step = excluded.step, place = excluded.place, tool = excluded.tool, \
              arguments = excluded.arguments, digest = excluded.digest, state = excluded.state, \
              repeatable = excluded.repeatable, result = excluded.result, child = excluded.child, message = excluded.message, \
              on_timeout = excluded.on_timeout, expires_at_ms = excluded.expires_at_ms, decided_by = excluded.decided_by, \
              note = excluded.note, updated_at_ms = excluded.updated_at_ms \
              WHERE excluded.state NOT IN ('awaiting_approval', 'unknown') \
              OR receipts.state IN ('awaiting_approval', 'unknown', 'sent')",
    },
    Part {
        columns: &[("task", Text), ("lane", Text), ("rank", Int), ("at_ms", Int), ("place", Int)],
        sql: "INSERT INTO task_queue (position, lane, rank, task, at_ms) \
              SELECT {position}, v.lane, v.rank, v.task, v.at_ms FROM {v}",
    },
    Part { columns: &[("task", Text)], sql: "DELETE FROM task_queue WHERE task IN (SELECT v.task FROM {v})" },
    Part {
        columns: &[("task", Text), ("kind", Text), ("call", Text), ("at_ms", Int)],
        sql: "INSERT INTO work_timers (task, kind, call, at_ms) SELECT v.task, v.kind, v.call, v.at_ms FROM {v} WHERE true \
              ON CONFLICT (task, kind, call) DO UPDATE SET at_ms = excluded.at_ms",
    },
    Part {
        columns: &[("task", Text), ("kind", Text), ("call", Text)],
        sql: "DELETE FROM work_timers WHERE (task, kind, call) IN (SELECT v.task, v.kind, v.call FROM {v})",
    },
    Part {
        columns: &[("thread", Text), ("first", Int), ("last", Int), ("place", Int)],
        sql: "INSERT INTO messages_unindexed (number, thread, first, last) SELECT {number}, v.thread, v.first, v.last FROM {v}",
    },
];

/// A part's statement.
fn write(dialect: Dialect, part: &Part, before: usize) -> String {
    let (position, number) = match dialect {
        Dialect::Postgres => ("nextval('task_positions')", "nextval('task_positions')"),
        Dialect::Sqlite => (
            "(SELECT coalesce(max(q.rowid), 0) FROM task_queue q) + v.place",
            "(SELECT coalesce(max(q.number), 0) FROM messages_unindexed q) + v.place",
        ),
    };
    let sql = part.sql.replace("{v}", &source(dialect, part.columns, before));
    sql.replace("{position}", position).replace("{number}", number)
}

/// All parts as one statement, which returns the transaction's number.
pub(super) fn whole() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let (mut parts, mut before) = (Vec::new(), 0);
        for (n, part) in PARTS.iter().enumerate() {
            parts.push(format!("p{n} AS ({})", write(Dialect::Postgres, part, before)));
            before += part.columns.len();
        }
        format!("WITH {} SELECT CAST(pg_current_xact_id() AS text) AS number", parts.join(", "))
    })
}

pub(super) fn of_sqlite(n: usize) -> &'static str {
    static TEXTS: OnceLock<Vec<String>> = OnceLock::new();
    let texts = TEXTS.get_or_init(|| PARTS.iter().map(|part| write(Dialect::Sqlite, part, 0)).collect());
    texts.get(n).map_or("", String::as_str)
}
