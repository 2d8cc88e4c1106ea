//! Looking at tasks, threads, messages, events and receipts. Every list is paged and bounded, and what belongs to an
//! organization is asked for with it.

use cofferdam_contract::work::TaskStatus;
use cofferdam_contract::{AgentId, OrganizationId, TaskId, ThreadId};
use sqlx::{AssertSqlSafe, Row, query, query_scalar};

use super::decode::{self, receipt_columns, task_columns, thread_columns};
use super::rows::{Asked, MessageRow, ReceiptRow, TaskRow, ThreadRow, WorkEventRow};
use crate::columns::{Columns as _, signed};
use crate::{Error, Store};

/// The most rows of a page.
const MAX_PAGE: u32 = 1000;
/// Receipts that are read of one task, and children.
const MAX_OF_A_TASK: i64 = 10_000;

/// The place in a list that is sorted by the time of creation: the row after which a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub created_at_ms: i64,
    pub id: String,
}

/// The tasks of a list: the newest first.
#[derive(Debug, Clone, Default)]
pub struct TaskQuery {
    pub agent: Option<AgentId>,
    pub status: Option<TaskStatus>,
    pub thread: Option<ThreadId>,
    pub parent: Option<TaskId>,
    pub after: Option<Cursor>,
    pub limit: u32,
}

/// The threads of a list: the newest first.
#[derive(Debug, Clone, Default)]
pub struct ThreadQuery {
    pub agent: Option<AgentId>,
    pub person: Option<String>,
    pub after: Option<Cursor>,
    pub limit: u32,
}

/// A part of a thread's messages, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// The first ones with a higher number.
    After(u64),
    /// The last ones with a lower number.
    Before(u64),
}

/// A tool call that waits for a person.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitingReceipt {
    pub receipt: ReceiptRow,
    pub thread: ThreadId,
    pub agent: AgentId,
}

fn page(limit: u32) -> i64 {
    i64::from(limit.clamp(1, MAX_PAGE))
}

/// Conditions of a list, each with its value, as text of a statement.
struct Conditions<'a> {
    sql: String,
    texts: Vec<&'a str>,
}

impl<'a> Conditions<'a> {
    /// `$1` is the organization, `$2` the limit, `$3` the cursor's time.
    const FIXED: usize = 3;

    fn add(&mut self, column: &str, value: Option<&'a str>) {
        let Some(value) = value else { return };
        self.texts.push(value);
        self.sql.push_str(&format!(" AND {column} = ${}", Self::FIXED + self.texts.len()));
    }

    fn after(&mut self, table: &str, cursor: Option<&'a Cursor>) {
        let Some(cursor) = cursor else { return };
        self.texts.push(&cursor.id);
        let n = Self::FIXED + self.texts.len();
        self.sql.push_str(&format!(" AND ({table}.created_at_ms, {table}.id) < ($3, ${n})"));
    }
}

impl Store {
    /// A task of the organization.
    pub async fn task(&self, organization: &OrganizationId, id: &TaskId) -> Result<Option<TaskRow>, Error> {
        let sql = concat!("SELECT ", task_columns!(), " FROM tasks t WHERE t.id = $1 AND t.organization = $2");
        let row = query(sql).bind(id.as_str()).bind(organization.as_str()).fetch_optional(&self.pool).await?;
        Ok(row.as_ref().map(decode::task).transpose()?)
    }

    /// The organization's tasks, the newest first.
    pub async fn tasks(&self, organization: &OrganizationId, which: &TaskQuery) -> Result<Vec<TaskRow>, Error> {
        let mut conditions = Conditions { sql: String::new(), texts: Vec::new() };
        conditions.add("t.agent", which.agent.as_ref().map(AgentId::as_str));
        if let Some(status) = which.status {
            // In the text, so that the planner sees that the index of unfinished tasks and dead letters has it.
            conditions.sql.push_str(&format!(" AND t.status = '{}'", status.name()));
        }
        conditions.add("t.thread", which.thread.as_ref().map(ThreadId::as_str));
        if which.parent.is_some() {
            // As its index has it.
            conditions.sql.push_str(" AND t.parent <> ''");
        }
        conditions.add("t.parent", which.parent.as_ref().map(TaskId::as_str));
        conditions.after("t", which.after.as_ref());
        let sql = format!(
            "SELECT {} FROM tasks t WHERE t.organization = $1 AND $3 >= 0{} ORDER BY t.created_at_ms DESC, t.id DESC LIMIT $2",
            task_columns!(),
            conditions.sql
        );
        let mut statement = query(AssertSqlSafe(sql)).bind(organization.as_str()).bind(page(which.limit));
        statement = statement.bind(which.after.as_ref().map_or(0, |cursor| cursor.created_at_ms));
        for text in conditions.texts {
            statement = statement.bind(text);
        }
        let rows = statement.fetch_all(&self.pool).await?;
        Ok(rows.iter().map(decode::task).collect::<Result<_, _>>()?)
    }

    /// A thread of the organization.
    pub async fn thread(&self, organization: &OrganizationId, id: &ThreadId) -> Result<Option<ThreadRow>, Error> {
        let sql = concat!("SELECT ", thread_columns!(), " FROM threads h WHERE h.id = $1 AND h.organization = $2");
        let row = query(sql).bind(id.as_str()).bind(organization.as_str()).fetch_optional(&self.pool).await?;
        Ok(row.as_ref().map(decode::thread).transpose()?)
    }

    /// The organization's threads, the newest first.
    pub async fn threads(&self, organization: &OrganizationId, which: &ThreadQuery) -> Result<Vec<ThreadRow>, Error> {
        let mut conditions = Conditions { sql: String::new(), texts: Vec::new() };
        conditions.add("h.agent", which.agent.as_ref().map(AgentId::as_str));
        conditions.add("h.person", which.person.as_deref());
        conditions.after("h", which.after.as_ref());
        let sql = format!(
            "SELECT {} FROM threads h WHERE h.organization = $1 AND $3 >= 0{} ORDER BY h.created_at_ms DESC, h.id DESC LIMIT $2",
            thread_columns!(),
            conditions.sql
        );
        let mut statement = query(AssertSqlSafe(sql)).bind(organization.as_str()).bind(page(which.limit));
        statement = statement.bind(which.after.as_ref().map_or(0, |cursor| cursor.created_at_ms));
        for text in conditions.texts {
            statement = statement.bind(text);
        }
        let rows = statement.fetch_all(&self.pool).await?;
        Ok(rows.iter().map(decode::thread).collect::<Result<_, _>>()?)
    }

    /// Messages of a thread, in their order.
    pub async fn messages(&self, thread: &ThreadId, span: Span, limit: u32) -> Result<Vec<MessageRow>, Error> {
        let (sql, seq) = match span {
            Span::After(seq) => ("SELECT * FROM messages WHERE thread = $1 AND seq > $2 ORDER BY seq LIMIT $3", seq),
            Span::Before(seq) => {
                ("SELECT * FROM messages WHERE thread = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3", seq)
            }
        };
        let rows = query(sql).bind(thread.as_str()).bind(signed(seq)).bind(page(limit)).fetch_all(&self.pool).await?;
        let mut messages: Vec<MessageRow> = rows.iter().map(decode::message).collect::<Result<_, _>>()?;
        messages.sort_unstable_by_key(|message| message.seq);
        Ok(messages)
    }

    /// Messages that belong to a task, in their order.
    pub async fn messages_of(&self, task: &TaskRow, after: u64, limit: u32) -> Result<Vec<MessageRow>, Error> {
        let sql = "SELECT * FROM messages WHERE thread = $1 AND seq > $2 AND task = $3 ORDER BY seq LIMIT $4";
        let statement = query(sql).bind(task.thread.as_str()).bind(signed(after)).bind(task.id.as_str());
        let rows = statement.bind(page(limit)).fetch_all(&self.pool).await?;
        Ok(rows.iter().map(decode::message).collect::<Result<_, _>>()?)
    }

    /// Events of a thread with a higher number, in their order.
    pub async fn events(&self, thread: &ThreadId, after: u64, limit: u32) -> Result<Vec<WorkEventRow>, Error> {
        let sql = "SELECT * FROM thread_events WHERE thread = $1 AND id > $2 ORDER BY id LIMIT $3";
        let rows = query(sql).bind(thread.as_str()).bind(signed(after)).bind(page(limit)).fetch_all(&self.pool).await?;
        Ok(rows.iter().map(decode::event).collect::<Result<_, _>>()?)
    }

    /// A task's receipts, in the order in which the model asked for the calls.
    pub async fn receipts(&self, task: &TaskId) -> Result<Vec<ReceiptRow>, Error> {
        let sql = concat!(
            "SELECT ",
            receipt_columns!(),
            " FROM receipts r WHERE r.task = $1 ORDER BY r.step, r.place LIMIT $2"
        );
        let rows = query(sql).bind(task.as_str()).bind(MAX_OF_A_TASK).fetch_all(&self.pool).await?;
        Ok(rows.iter().map(decode::receipt).collect::<Result<_, _>>()?)
    }

    /// Tool calls of the organization that wait for a person, by their tasks' ids and their own; `after` is the last of the
    /// page before.
    pub async fn waiting_receipts(
        &self,
        organization: &OrganizationId,
        after: Option<(&TaskId, &str)>,
        limit: u32,
    ) -> Result<Vec<WaitingReceipt>, Error> {
        let sql = concat!(
            "SELECT ",
            receipt_columns!(),
            ", t.thread, t.agent FROM tasks t JOIN receipts r ON r.task = t.id WHERE t.organization = $1 \
             AND t.status = 'paused' AND r.state IN ('awaiting_approval', 'unknown') AND (r.task, r.call) > ($2, $3) \
             ORDER BY r.task, r.call LIMIT $4"
        );
        let (task, call) = after.map_or(("", ""), |(task, call)| (task.as_str(), call));
        let statement = query(sql).bind(organization.as_str()).bind(task).bind(call).bind(page(limit));
        let rows = statement.fetch_all(&self.pool).await?;
        let read = |row| -> Result<WaitingReceipt, sqlx::Error> {
            Ok(WaitingReceipt { receipt: decode::receipt(row)?, thread: row.id("thread")?, agent: row.id("agent")? })
        };
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// The tasks that a task has made, the oldest first.
    pub async fn children(&self, task: &TaskId) -> Result<Vec<TaskId>, Error> {
        let sql = "SELECT id FROM tasks WHERE parent = $1 AND parent <> '' ORDER BY created_at_ms, id LIMIT $2";
        let rows = query(sql).bind(task.as_str()).bind(MAX_OF_A_TASK).fetch_all(&self.pool).await?;
        Ok(rows.iter().map(|row| row.id("id")).collect::<Result<_, _>>()?)
    }

    /// The requests of people about the tasks that a worker has.
    pub async fn asked_of(&self, worker: &str) -> Result<Vec<(TaskId, Asked)>, Error> {
        let sql = "SELECT id, asked FROM tasks WHERE asked <> '' AND worker = $1 LIMIT $2";
        let rows = query(sql).bind(worker).bind(MAX_OF_A_TASK).fetch_all(&self.pool).await?;
        let mut asked = Vec::with_capacity(rows.len());
        for row in &rows {
            if let Some(what) = decode::asked(&row.try_get::<String, _>("asked")?) {
                asked.push((row.id("id")?, what));
            }
        }
        Ok(asked)
    }

    /// The number of unfinished tasks of an organization.
    pub async fn unfinished_tasks(&self, organization: &OrganizationId) -> Result<u64, Error> {
        let sql = "SELECT count(*) FROM tasks WHERE organization = $1 AND status IN ('pending', 'executing', 'paused')";
        let number: i64 = query_scalar(sql).bind(organization.as_str()).fetch_one(&self.pool).await?;
        Ok(crate::columns::unsigned(number))
    }
}
