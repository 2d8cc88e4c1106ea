//! A task under way: its rows as this worker knows them, and the one way in which they change. Every write is fenced by the lease;
//! what was written is then known here too, without reading it again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::work::{Content, EventType, Role, TaskStatus, Why};
use cofferdam_contract::{Problem, TaskId};
use cofferdam_core::now_ms;
use cofferdam_store::{Asked, Lease, MessageRow, NewEvent, NewMessage, ReceiptRow, Step, Turn, Used, Write, Written};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::history::History;
use crate::limits::sum;
use crate::tools::Toolbox;
use crate::types::RunContext;

/// A reason for which a worker stops working on a task.
#[derive(Debug)]
pub(crate) enum Halt {
    /// Its last turn was written: it ended, waits, or is in the queue.
    Over,
    /// The lease is another's, or this worker may not go on.
    Lost,
    /// Somebody asked for it.
    Asked(Asked),
    /// The process ends.
    Draining,
    /// Something below failed; the rows say how to go on.
    Broken(Error),
}

impl<E: Into<Error>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

/// A task under way.
pub(crate) struct Run {
    pub ctx: RunContext,
    pub lease: Lease,
    pub history: History,
    pub receipts: Vec<ReceiptRow>,
    pub toolbox: Arc<Toolbox>,
    pub memories: Vec<String>,
    /// Until when its time of work was counted.
    pub counted: Instant,
    /// The request to stop or pause, as far as a write has said.
    pub asked: Option<Asked>,
    /// The request to stop or pause, as a watcher has heard meanwhile.
    pub heard: Heard,
    /// The process ends: tasks stop at their next step.
    pub draining: CancellationToken,
    /// Logins that calls wait for.
    pub logins: Vec<String>,
    /// Tokens of the last prompt.
    pub prompt_tokens: u64,
    /// The provider does not take the form; the instructions say it alone.
    pub plain: bool,
    /// Results of tools are shortened, because nothing else makes the thread fit.
    pub shortened: bool,
    /// Times that the context was compacted since the last answer.
    pub compacted: u32,
}

/// A watcher's news of a task: it cancels the task's token after it wrote this.
pub(crate) type Heard = Arc<Mutex<Option<Asked>>>;

/// A write that is put together.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub messages: Vec<NewMessage>,
    pub events: Vec<NewEvent>,
    pub receipts: Vec<ReceiptRow>,
    pub used: Used,
    pub used_tools: Vec<String>,
    pub state: BTreeMap<String, Value>,
}

impl Draft {
    pub(crate) fn say(&mut self, role: Role, content: Content) {
        self.messages.push(NewMessage { role, content });
    }

    pub(crate) fn notice(&mut self, text: impl Into<String>, mark: &str) {
        let tool = (!mark.is_empty()).then(|| mark.to_owned());
        self.say(Role::Notice, Content { text: text.into(), tool, ..Content::default() });
    }

    pub(crate) fn tell(&mut self, kind: EventType, data: Value) {
        self.events.push(NewEvent { kind, data });
    }
}

impl Run {
    pub(crate) fn id(&self) -> &TaskId {
        &self.ctx.task.id
    }

    /// Writes, with the time of work since the last write.
    pub(crate) async fn write(&mut self, mut draft: Draft, turn: Turn) -> Result<(), Halt> {
        let now = Instant::now();
        let worked = now.saturating_duration_since(self.counted);
        draft.used.worked_ms = u64::try_from(worked.as_millis()).unwrap_or(u64::MAX);
        self.counted = now;
        let step = Step {
            task: self.ctx.task.id.clone(),
            thread: self.ctx.task.thread.clone(),
            lease: self.lease.clone(),
            messages: draft.messages.clone(),
            events: draft.events,
            receipts: draft.receipts.clone(),
            used: draft.used,
            used_tools: draft.used_tools,
            state: draft.state.clone(),
            turn,
        };
        let goes = step.turn == Turn::Goes;
        #[cfg(test)]
        if self.ctx.parts.kill.before() {
            return Err(Halt::Lost);
        }
        match self.ctx.parts.tasks.write(Write::Step(Box::new(step))).await? {
            #[cfg(test)]
            _ if self.ctx.parts.kill.after() => Err(Halt::Lost),
            Written::Done { message, asked, status, .. } => {
                self.wrote(draft.messages, draft.receipts, message);
                sum(&mut self.ctx.task.used, &draft.used);
                for (key, value) in draft.state {
                    match value.is_null() {
                        true => self.ctx.thread.state.remove(&key),
                        false => self.ctx.thread.state.insert(key, value),
                    };
                }
                self.asked = asked;
                if goes {
                    return Ok(());
                }
                if status.is_final() {
                    self.ctx.task.status = status;
                }
                Err(Halt::Over)
            }
            _ => Err(Halt::Lost),
        }
    }

    fn wrote(&mut self, messages: Vec<NewMessage>, receipts: Vec<ReceiptRow>, last: u64) {
        let first = (last + 1).saturating_sub(messages.len() as u64);
        for (seq, NewMessage { role, content }) in (first..).zip(messages) {
            let (thread, task) = (self.ctx.task.thread.clone(), self.ctx.task.id.clone());
            self.history.add(MessageRow { thread, seq, task, role, content, at_ms: now_ms() });
        }
        for receipt in receipts {
            self.keep(receipt);
        }
    }

    /// Notes a receipt as it is in the store now.
    pub(crate) fn keep(&mut self, receipt: ReceiptRow) {
        match self.receipts.iter_mut().find(|known| known.call == receipt.call) {
            Some(known) => *known = receipt,
            None => self.receipts.push(receipt),
        }
    }

    /// Ends the task.
    pub(crate) async fn end(&mut self, mut draft: Draft, end: End) -> Result<(), Halt> {
        draft.tell(EventType::TaskFinished, Value::Null);
        self.ctx.parts.metrics.ended(end.status, end.why);
        tracing::Span::current().record("status", end.status.name());
        let End { status, why, detail, result, output, problem } = end;
        self.write(draft, Turn::Ends { status, why, detail, result, output, problem }).await
    }

    /// Waits without a slot.
    pub(crate) async fn park(
        &mut self,
        mut draft: Draft,
        status: TaskStatus,
        why: Why,
        detail: &str,
    ) -> Result<(), Halt> {
        draft.tell(EventType::TaskUpdated, Value::Null);
        self.write(draft, Turn::Parks { status, why, detail: detail.to_owned() }).await
    }

    /// Back into the queue: at once, or after a time.
    pub(crate) async fn again(
        &mut self,
        mut draft: Draft,
        after: Option<Duration>,
        detail: String,
    ) -> Result<(), Halt> {
        draft.tell(EventType::TaskUpdated, Value::Null);
        let at_ms = after.map(|after| now_ms().saturating_add(cofferdam_core::millis(after)));
        let why = after.map(|_| Why::WaitsForRetry);
        self.write(draft, Turn::Again { why, detail, at_ms }).await
    }

    /// Says why the loop may not go on, if it may not.
    pub(crate) fn check(&self) -> Result<(), Halt> {
        let heard = *self.heard.lock();
        match self.asked.or(heard) {
            Some(asked) => Err(Halt::Asked(asked)),
            None if self.ctx.cancel.is_cancelled() => Err(Halt::Lost),
            None => Ok(()),
        }
    }

    /// Returns true if this worker may not go on with it.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.check(), Err(Halt::Lost))
    }
}

/// The end of a task.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub status: TaskStatus,
    pub why: Option<Why>,
    pub detail: String,
    pub result: Option<String>,
    pub output: Option<Value>,
    pub problem: Option<Problem>,
}

impl End {
    /// It comes to an end that is its own.
    pub(crate) fn failed(why: Why, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let problem = Some(problem(why, &detail));
        Self { status: TaskStatus::Failed, why: Some(why), detail, result: None, output: None, problem }
    }

    /// A dead letter: we, a provider or a tool failed after all tries.
    pub(crate) fn dead(why: Why, detail: impl Into<String>) -> Self {
        Self { status: TaskStatus::Error, ..Self::failed(why, detail) }
    }
}

fn problem(why: Why, detail: &str) -> Problem {
    match why {
        Why::ModelFailed => Problem::bad_upstream(detail),
        Why::ModelForbidden => Problem::denied(detail),
        Why::NoModel | Why::AgentGone => Problem::not_found(detail),
        Why::Internal => Problem::internal(detail),
        _ => Problem::conflict(detail),
    }
}
