//! Lists: what is asked for, their pages, and the cursors between them. A cursor is text that only this crate reads.

use cofferdam_contract::work::{ApprovalInfo, MessageInfo, Role, TaskInfo, TaskStatus, ThreadInfo, Timestamp};
use cofferdam_contract::{AgentId, Problem, TaskId, ThreadId};
use cofferdam_store::Cursor;
use serde::Serialize;
use utoipa::ToSchema;

/// The most entries of a page.
pub const MAX_PAGE: u32 = 200;

/// The tasks that are asked for.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    pub agent: Option<AgentId>,
    pub status: Option<TaskStatus>,
    pub thread: Option<ThreadId>,
    pub parent: Option<TaskId>,
    pub after: Option<String>,
    pub limit: u32,
}

/// The threads that are asked for.
#[derive(Debug, Clone, Default)]
pub struct ThreadFilter {
    pub agent: Option<AgentId>,
    /// The person, as `input.user.id` named it.
    pub user: Option<String>,
    pub after: Option<String>,
    pub limit: u32,
}

/// The part of a thread's messages that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessagesOf {
    /// The first ones after a number.
    After(u64),
    /// The last ones before a number.
    Before(u64),
}

/// A page of tasks, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TaskPage {
    pub tasks: Vec<TaskInfo>,
    /// The next page's `after`; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A page of threads, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ThreadPage {
    pub threads: Vec<ThreadInfo>,
    /// The next page's `after`; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A page of messages, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MessagePage {
    pub messages: Vec<MessageInfo>,
    /// `before` of the page before this one; absent at the beginning of the thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<u64>,
    /// `after` of the page after this one; absent at the end of the thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A page of tool calls that wait for a person.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ApprovalPage {
    pub approvals: Vec<ApprovalInfo>,
    /// The next page's `after`; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A message that a search found.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Found {
    pub thread_id: ThreadId,
    pub task_id: TaskId,
    pub agent_id: AgentId,
    pub seq: u64,
    pub role: Role,
    /// A piece of the text, with the words that were found between `**`.
    pub snippet: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A page of what a search found.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FoundPage {
    pub messages: Vec<Found>,
    /// The next page's `after`; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Checks the size of a page.
pub(crate) fn limit(asked: u32) -> Result<u32, Problem> {
    match (1..=MAX_PAGE).contains(&asked) {
        true => Ok(asked),
        false => Err(Problem::invalid(format!("limit: 1 to {MAX_PAGE}"))),
    }
}

/// The cursor behind a row.
pub(crate) fn cursor(created_at_ms: i64, id: &str) -> String {
    format!("{created_at_ms}.{id}")
}

/// Reads a cursor.
pub(crate) fn read_cursor(text: &str) -> Result<Cursor, Problem> {
    let wrong = || Problem::invalid("after: this is no `next` of a page; leave it out for the first one");
    let (at, id) = text.split_once('.').ok_or_else(wrong)?;
    let created_at_ms = at.parse().map_err(|_| wrong())?;
    match (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        true => Ok(Cursor { created_at_ms, id: id.to_owned() }),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives() {
        let cursor = read_cursor(&cursor(1_764_583_200_007, "task_1")).unwrap();
        assert_eq!((cursor.created_at_ms, cursor.id.as_str()), (1_764_583_200_007, "task_1"));
        for bad in ["", "1", "1.", ".x", "x.y", "1.a b", "1.a'--"] {
            assert!(read_cursor(bad).is_err(), "{bad}");
        }
        assert!(limit(0).is_err() && limit(MAX_PAGE + 1).is_err() && limit(1).is_ok());
    }
}
