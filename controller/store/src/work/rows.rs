//! The rows of agents at work, and the operations that a batch carries out.

use std::collections::BTreeMap;

use cofferdam_contract::work::{Content, EventType, InvokeRequest, Role, TaskStatus, Why};
use cofferdam_contract::{AgentId, OrganizationId, Problem, TaskId, ThreadId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The right to work on a task: ends when another attempt is handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub worker: String,
    pub attempt: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ThreadRow {
    pub id: ThreadId,
    pub organization: OrganizationId,
    pub agent: AgentId,
    pub api_key: String,
    pub title: String,
    pub person: String,
    pub forked_from: Option<ThreadId>,
    pub active: Option<TaskId>,
    pub waiting: u64,
    pub last_event: u64,
    pub last_message: u64,
    pub state: BTreeMap<String, Value>,
    pub created_at_ms: i64,
    pub updated_at_ms: i64,
}

/// The use of a task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    pub steps: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub cache_read_tokens: u64,
    pub cache_write_tokens: u64,
    /// Nano-dollars.
    pub cost: u64,
    pub worked_ms: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TaskRow {
    pub id: TaskId,
    pub organization: OrganizationId,
    pub agent: AgentId,
    pub agent_version: String,
    pub thread: ThreadId,
    pub api_key: String,
    /// As `Scopes::to_text` writes them.
    pub scopes: String,
    pub status: TaskStatus,
    pub why: Option<Why>,
    pub detail: String,
    pub request: InvokeRequest,
    pub result: Option<String>,
    pub output: Option<Value>,
    pub problem: Option<Problem>,
    pub title: String,
    pub source: String,
    pub priority: i32,
    pub deadline_ms: Option<i64>,
    pub parent: Option<TaskId>,
    pub parent_call: String,
    /// The first task of its tree; its own id where nothing made it.
    pub root: TaskId,
    pub depth: u32,
    pub turn: u64,
    pub lease: Option<Lease>,
    pub attempt: u64,
    pub lost: u64,
    pub retries: u64,
    pub asked: Option<Asked>,
    /// Something that it waits for has happened while a worker has it.
    pub woken: bool,
    pub used: Used,
    pub used_tools: Vec<String>,
    pub metadata: BTreeMap<String, String>,
    pub created_at_ms: i64,
    pub started_at_ms: Option<i64>,
    pub paused_at_ms: Option<i64>,
    pub finished_at_ms: Option<i64>,
    pub updated_at_ms: i64,
}

impl TaskRow {
    /// A task that was just made and that nobody has begun: its own root, without a parent.
    pub fn pending(
        (organization, agent, agent_version): (OrganizationId, AgentId, String),
        (id, thread): (TaskId, ThreadId),
        (api_key, scopes): (String, String),
        request: InvokeRequest,
        source: &str,
        now_ms: i64,
    ) -> Self {
        Self {
            root: id.clone(),
            id,
            organization,
            agent,
            agent_version,
            thread,
            api_key,
            scopes,
            status: TaskStatus::Pending,
            why: None,
            detail: String::new(),
            request,
            result: None,
            output: None,
            problem: None,
            title: String::new(),
            source: source.to_owned(),
            priority: 0,
            deadline_ms: None,
            parent: None,
            parent_call: String::new(),
            depth: 0,
            turn: 0,
            lease: None,
            attempt: 0,
            lost: 0,
            retries: 0,
            asked: None,
            woken: false,
            used: Used::default(),
            used_tools: Vec::new(),
            metadata: BTreeMap::new(),
            created_at_ms: now_ms,
            started_at_ms: None,
            paused_at_ms: None,
            finished_at_ms: None,
            updated_at_ms: now_ms,
        }
    }
}

/// A person's request about a running task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Stop,
    Pause,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MessageRow {
    pub thread: ThreadId,
    pub seq: u64,
    pub task: TaskId,
    pub role: Role,
    pub content: Content,
    pub at_ms: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct WorkEventRow {
    pub thread: ThreadId,
    pub id: u64,
    pub task: TaskId,
    pub kind: EventType,
    pub data: Value,
    pub at_ms: i64,
}

/// The state of a tool call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptState {
    AwaitingApproval,
    Approved,
    Declined,
    Expired,
    /// It was about to leave, or has left: the outcome is unknown until it is `Done`.
    Sent,
    /// The outcome is unknown, and a person is asked.
    Unknown,
    /// A person said: make it again.
    Retry,
    /// A sub-agent's task is the call.
    Child,
    /// The result is known.
    Done,
}

impl ReceiptState {
    /// As the store has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AwaitingApproval => "awaiting_approval",
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::Expired => "expired",
            Self::Sent => "sent",
            Self::Unknown => "unknown",
            Self::Retry => "retry",
            Self::Child => "child",
            Self::Done => "done",
        }
    }
}

/// The result of a tool call, as the model is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolResult {
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    #[serde(default)]
    pub is_error: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ReceiptRow {
    pub task: TaskId,
    pub call: String,
    pub step: u64,
    pub place: u64,
    pub tool: String,
    /// Canonical JSON.
    pub arguments: String,
    pub digest: String,
    pub state: ReceiptState,
    pub repeatable: bool,
    pub result: Option<ToolResult>,
    pub child: Option<TaskId>,
    pub message: String,
    /// `decline` or `stop`.
    pub on_timeout: String,
    pub expires_at_ms: Option<i64>,
    pub decided_by: String,
    pub note: String,
    pub created_at_ms: i64,
    pub updated_at_ms: i64,
}

/// A message that is to be added; its number is given out in the batch.
#[derive(Debug, Clone, PartialEq)]
pub struct NewMessage {
    pub role: Role,
    pub content: Content,
}

/// An event that is to be added; its number is given out in the batch.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    pub kind: EventType,
    pub data: Value,
}

/// A task that is to be added.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTask {
    /// As it is to be written; `status` pending, `attempt` 0. Its turn is given out in the batch.
    pub task: TaskRow,
    /// A new thread, or `None` if `task.thread` has to exist in this organization and with this agent.
    pub thread: Option<ThreadRow>,
    /// Idempotency key and digest of the request.
    pub once: Option<(String, String)>,
    /// The user's message.
    pub message: NewMessage,
    pub events: Vec<NewEvent>,
    /// Unfinished tasks that the organization may have.
    pub max_unfinished: u64,
    /// The lease of a sub-agent's parent, without which nothing is added. The receipt of `parent_call` becomes `Child`.
    pub parent_lease: Option<Lease>,
}

/// The change of a task's state by a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Turn {
    /// It goes on under the same lease.
    Goes,
    /// It ends: a final status.
    Ends {
        status: TaskStatus,
        why: Option<Why>,
        detail: String,
        result: Option<String>,
        output: Option<Value>,
        problem: Option<Problem>,
    },
    /// It waits without a lease: for a person (`Paused`) or for sub-agents (`Executing`).
    Parks { status: TaskStatus, why: Why, detail: String },
    /// It is handed out again, at that time or at once.
    Again { why: Option<Why>, detail: String, at_ms: Option<i64> },
}

/// A step of a task by the worker that has its lease.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub task: TaskId,
    pub thread: ThreadId,
    pub lease: Lease,
    pub messages: Vec<NewMessage>,
    pub events: Vec<NewEvent>,
    /// New receipts, and changed ones (by their call).
    pub receipts: Vec<ReceiptRow>,
    /// An addition to its use.
    pub used: Used,
    pub used_tools: Vec<String>,
    /// Changes of the thread's state: a key with `Null` is taken out.
    pub state: BTreeMap<String, Value>,
    pub turn: Turn,
}

/// A person's answer about a tool call.
#[derive(Debug, Clone, PartialEq)]
pub struct Settle {
    pub organization: OrganizationId,
    pub task: TaskId,
    pub call: String,
    /// The states and the digest of which the receipt must have one now.
    pub from: Vec<ReceiptState>,
    pub digest: Option<String>,
    pub to: ReceiptState,
    /// Edited arguments with their digest.
    pub arguments: Option<(String, String)>,
    pub result: Option<ToolResult>,
    pub decided_by: String,
    pub note: String,
    pub events: Vec<NewEvent>,
}

/// An operation of a batch. Each is carried out whole or not at all, whatever becomes of the others.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    Add(Box<NewTask>),
    Step(Box<Step>),
    Settle(Box<Settle>),
    /// Stop or pause: at once where nobody has the lease, else the worker is asked.
    Ask {
        organization: OrganizationId,
        task: TaskId,
        asked: Asked,
        why: Why,
        detail: String,
    },
    /// A paused task (asked to pause) goes on; a dead letter is replayed.
    Resume {
        organization: OrganizationId,
        task: TaskId,
    },
}

/// The outcome of a [`Write`].
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    /// Done. `event` and `message` are the numbers of the last ones in the thread.
    Done {
        task: TaskId,
        thread: ThreadId,
        event: u64,
        message: u64,
        asked: Option<Asked>,
        status: TaskStatus,
        queued: Vec<Lane>,
    },
    /// The idempotency key was used before, for this task; `same` if the request was the same.
    Before { task: TaskId, same: bool },
    /// There is no such task, thread or call in this organization.
    Missing,
    /// The lease is lost: another attempt runs, or the task has ended.
    Lost,
    /// The state does not allow it: the task has ended, the call was decided, the digest is another.
    Conflict { status: TaskStatus },
    /// The organization has as many unfinished tasks as it may have.
    Full,
}

/// Tasks of one agent of one organization, in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane {
    pub organization: OrganizationId,
    pub agent: AgentId,
}

/// A task that was handed out, with all that the loop needs to go on.
#[derive(Debug, Clone, PartialEq)]
pub struct HandedOut {
    pub task: TaskRow,
    pub lease: Lease,
    /// Its time in the queue.
    pub waited_ms: u64,
}
