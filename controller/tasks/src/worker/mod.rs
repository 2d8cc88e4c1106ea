//! Workers of this process: how they say that they live, and how they get tasks, in turn over organizations and agents.

mod beat;
mod hand_out;
mod held;
mod limits;
mod turns;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use cofferdam_contract::{TaskId, ThreadId};
use cofferdam_core::random_bits;
use cofferdam_store::{HandedOut, Lease, Step, Turn, Used, Write, Written};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use held::SharedHeld;
pub use limits::{LaneLimit, LaneLimits, NoLimits};

use crate::writer::Writer;
use crate::{Error, Tasks};

/// A worker: its tasks are its own for as long as it says that it lives.
#[derive(Debug, Clone)]
pub struct WorkerLease {
    /// The worker's id, as leases have it.
    pub id: String,
    /// Cancelled when the worker could not say that it lives: its tasks are others' now, and it must stop them.
    pub lost: CancellationToken,
    state: Arc<WorkerState>,
}

#[derive(Debug)]
pub(crate) struct WorkerState {
    pub(crate) id: String,
    lost: CancellationToken,
    /// It is in the store.
    joined: tokio::sync::Mutex<bool>,
    last_beat: Mutex<Instant>,
    waiting: Mutex<VecDeque<oneshot::Sender<HandedOut>>>,
    /// A hand-out was cut off: it may have been given tasks that nobody here knows of.
    unsure: AtomicBool,
}

/// The workers of this process, and what wakes those who serve them.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    workers: Mutex<Vec<Arc<WorkerState>>>,
    /// A slot is free, or a worker is new.
    wanted: Notify,
    /// Nothing is handed out any more.
    closed: CancellationToken,
}

impl Slots {
    pub(crate) fn workers(&self) -> Vec<Arc<WorkerState>> {
        self.workers.lock().clone()
    }

    fn forget(&self, id: &str) {
        self.workers.lock().retain(|worker| worker.id != id);
    }
}

/// A slot that waits. What reaches it after nobody waits any more goes back to the queue.
struct Slot {
    receiver: oneshot::Receiver<HandedOut>,
    writer: Arc<Writer>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.receiver.close();
        if let Ok(task) = self.receiver.try_recv() {
            put_back(&self.writer, (task.task.id, task.task.thread, task.lease));
        }
    }
}

/// A step that adds nothing.
fn empty_step((task, thread, lease): (TaskId, ThreadId, Lease), turn: Turn) -> Step {
    Step {
        task,
        thread,
        lease,
        messages: Vec::new(),
        events: Vec::new(),
        receipts: Vec::new(),
        used: Used::default(),
        used_tools: Vec::new(),
        state: std::collections::BTreeMap::new(),
        turn,
    }
}

/// Puts a task back into the queue that nobody has begun.
fn put_back(writer: &Arc<Writer>, task: (TaskId, ThreadId, Lease)) {
    let step = empty_step(task, Turn::Again { why: None, detail: String::new(), at_ms: None });
    let writer = Arc::clone(writer);
    tokio::spawn(async move { writer.write(Write::Step(Box::new(step))).await });
}

impl Tasks {
    /// A new worker of this process. It lives while [`Tasks::keep_beating`] runs.
    ///
    /// # Errors
    /// The system returned no random bytes.
    pub fn worker(&self) -> Result<WorkerLease, Error> {
        let state = Arc::new(WorkerState {
            id: format!("worker_{:032x}", random_bits()?),
            lost: CancellationToken::new(),
            joined: tokio::sync::Mutex::new(false),
            last_beat: Mutex::new(Instant::now()),
            waiting: Mutex::default(),
            unsure: AtomicBool::new(false),
        });
        self.slots.workers.lock().push(Arc::clone(&state));
        self.slots.wanted.notify_one();
        Ok(WorkerLease { id: state.id.clone(), lost: state.lost.clone(), state })
    }

    /// Waits for a task: in turn over organizations, then over their agents, then by priority. `None` once nothing is handed out any
    /// more, or the worker is lost. Safe to drop while it waits: a task that comes too late goes back to the queue.
    pub async fn next(&self, worker: &WorkerLease) -> Option<HandedOut> {
        if worker.lost.is_cancelled() || self.slots.closed.is_cancelled() {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        let mut slot = Slot { receiver, writer: Arc::clone(&self.writer) };
        worker.state.waiting.lock().push_back(sender);
        self.slots.wanted.notify_one();
        tokio::select! {
            handed = &mut slot.receiver => handed.ok(),
            () = worker.lost.cancelled() => None,
            () = self.slots.closed.cancelled() => None,
        }
    }

    /// A worker ends in peace: what it still has goes back to the queue, and does not count as lost.
    ///
    /// # Errors
    /// The database does not answer; others take the tasks when the worker's last beat is over.
    pub async fn leave(&self, worker: &WorkerLease) -> Result<(), Error> {
        self.slots.forget(&worker.id);
        self.held.forget(&worker.id);
        worker.state.waiting.lock().clear();
        loop {
            let left = self.store.leave(&worker.id).await?;
            left.iter().for_each(|written| self.hub.written(None, written));
            if !left.iter().any(|written| matches!(written, Written::Done { .. })) {
                return Ok(());
            }
        }
    }
}
