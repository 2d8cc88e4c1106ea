//! Pieces of an answer on their way to those who look on: gathered, stored as events, one write at a time, while the stream is read
//! on. Never waits for a write unless more comes than is written.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::work::EventType;
use cofferdam_contract::{TaskId, ThreadId};
use cofferdam_store::{Lease, NewEvent, Step, Turn, Used, Write, Written};
use cofferdam_tasks::Tasks;
use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::time::Instant;

use crate::said::Piece;

/// The time for which pieces are gathered, and the bytes of which an event is made at once.
const GATHER: Duration = Duration::from_millis(40);
const MAX_GATHERED_BYTES: usize = 2 << 10;

/// The way of a task's events.
struct Target {
    tasks: Arc<Tasks>,
    task: TaskId,
    thread: ThreadId,
    lease: Lease,
}

/// Pieces that are being gathered and written.
pub(crate) struct Chunks {
    target: Option<Target>,
    gathered: Vec<Piece>,
    bytes: usize,
    due: Option<Instant>,
    writing: Option<BoxFuture<'static, bool>>,
    /// Something of this answer was written.
    pub(crate) begun: bool,
    /// A write failed because the lease is lost.
    pub(crate) lost: bool,
}

impl Chunks {
    pub(crate) fn new(tasks: &Arc<Tasks>, task: &TaskId, thread: &ThreadId, lease: &Lease) -> Self {
        let target =
            Target { tasks: Arc::clone(tasks), task: task.clone(), thread: thread.clone(), lease: lease.clone() };
        Self { target: Some(target), ..Self::nowhere() }
    }

    /// For answers that nobody is shown.
    pub(crate) fn nowhere() -> Self {
        Self { target: None, gathered: Vec::new(), bytes: 0, due: None, writing: None, begun: false, lost: false }
    }

    /// Takes pieces.
    pub(crate) fn show(&mut self, pieces: &mut Vec<Piece>) {
        for piece in pieces.drain(..).filter(|_| self.target.is_some()) {
            self.due.get_or_insert_with(|| Instant::now() + GATHER);
            match (self.gathered.last_mut(), piece) {
                (Some(Piece::Text(whole)), Piece::Text(more)) | (Some(Piece::Thought(whole)), Piece::Thought(more)) => {
                    self.bytes += more.len();
                    whole.push_str(&more);
                }
                (_, piece) => {
                    self.bytes += match &piece {
                        Piece::Text(text) | Piece::Thought(text) => text.len(),
                    };
                    self.gathered.push(piece);
                }
            }
        }
    }

    /// Waits until something can be done about what was gathered, and does it. Pending while there is nothing; safe to drop.
    pub(crate) async fn turn(&mut self) {
        if let Some(writing) = &mut self.writing {
            let kept = writing.await;
            self.writing = None;
            self.lost |= !kept;
            return;
        }
        match self.due {
            Some(_) if self.bytes >= MAX_GATHERED_BYTES => {}
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
        let events = self.take();
        let Some(target) = &self.target else { return };
        let step = Step {
            task: target.task.clone(),
            thread: target.thread.clone(),
            lease: target.lease.clone(),
            messages: Vec::new(),
            events,
            receipts: Vec::new(),
            used: Used::default(),
            used_tools: Vec::new(),
            state: std::collections::BTreeMap::new(),
            turn: Turn::Goes,
        };
        let tasks = Arc::clone(&target.tasks);
        self.begun = true;
        self.writing = Some(Box::pin(async move {
            // A chunk that cannot be written is no reason to end the task: the message has all of it.
            !matches!(tasks.write(Write::Step(Box::new(step))).await, Ok(Written::Lost))
        }));
    }

    /// Waits for the write under way, and returns the events that were not written.
    pub(crate) async fn finish(&mut self) -> Vec<NewEvent> {
        if let Some(writing) = self.writing.take() {
            self.lost |= !writing.await;
        }
        self.take()
    }

    /// Waits for the write under way, and forgets what was not written.
    pub(crate) async fn discard(&mut self) {
        self.finish().await;
    }

    fn take(&mut self) -> Vec<NewEvent> {
        self.bytes = 0;
        self.due = None;
        let event = |piece| match piece {
            Piece::Text(text) => NewEvent { kind: EventType::Chunk, data: text.into() },
            Piece::Thought(text) => NewEvent { kind: EventType::Think, data: json!({"text": text}) },
        };
        std::mem::take(&mut self.gathered).into_iter().map(event).collect()
    }
}
