//! The tasks that workers of this process have, and a net under them: no task may stay with a worker that lives while nobody runs it.
//!
//! A hand-out that was cut off may have given tasks that nobody here knows of: they are found by comparing with the store. And whoever
//! ran a task may have gone away without a last word: it goes back to the queue, or ends as a dead letter if its runner panicked.

use std::collections::HashMap;
use std::sync::Arc;

use cofferdam_contract::work::{TaskStatus, Why};
use cofferdam_contract::{Problem, TaskId, ThreadId};
use cofferdam_store::{Lease, Turn, Write, Written};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{WorkerState, empty_step, put_back};
use crate::{Error, Tasks};

const BROKEN: &str = "Something failed on our side while it ran. POST /v1/tasks/{id}/replay runs it again.";

#[derive(Debug)]
struct HeldTask {
    thread: ThreadId,
    lease: Lease,
    /// When its runner went away, and whether it panicked.
    left: Option<(Instant, bool)>,
}

/// Tasks with their leases.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<HashMap<TaskId, HeldTask>>);

impl Held {
    pub(super) fn add(&self, task: &TaskId, thread: &ThreadId, lease: &Lease) {
        let held = HeldTask { thread: thread.clone(), lease: lease.clone(), left: None };
        self.0.lock().insert(task.clone(), held);
    }

    /// Takes note of a step that was written: a task that no longer goes on here is held no longer.
    pub(crate) fn stepped(&self, write: &Write, written: &Written) {
        let Write::Step(step) = write else { return };
        let ends = match written {
            Written::Done { .. } => step.turn != Turn::Goes,
            Written::Lost | Written::Missing => true,
            Written::Before { .. } | Written::Conflict { .. } | Written::Full => false,
        };
        let mut held = self.0.lock();
        if ends && held.get(&step.task).is_some_and(|held| held.lease == step.lease) {
            held.remove(&step.task);
        }
    }

    /// Whoever ran the task has gone away.
    pub(crate) fn left(&self, task: &TaskId, panicked: bool) {
        if let Some(held) = self.0.lock().get_mut(task) {
            held.left = Some((Instant::now(), panicked));
        }
    }

    fn has(&self, task: &TaskId, lease: &Lease) -> bool {
        self.0.lock().get(task).is_some_and(|held| held.lease == *lease)
    }

    /// Forgets a worker's tasks.
    pub(super) fn forget(&self, worker: &str) {
        self.0.lock().retain(|_, held| held.lease.worker != worker);
    }
}

impl Tasks {
    /// Gives back what a hand-out that was cut off has given to a worker.
    pub(super) async fn give_back_unknown(&self, worker: &WorkerState) -> Result<(), Error> {
        for (task, thread, lease) in self.store.held_by(&worker.id).await? {
            if !self.held.has(&task, &lease) {
                tracing::warn!(%task, "a hand-out was cut off; its task goes back to the queue");
                put_back(&self.writer, (task, thread, lease));
            }
        }
        Ok(())
    }

    /// Settles tasks whose runners have gone away without a last word.
    pub(crate) async fn settle_left(&self) {
        let grace = self.config.left_after;
        let overdue: Vec<_> = {
            let mut held = self.held.0.lock();
            let due = held.iter_mut().filter(|(_, held)| held.left.is_some_and(|(at, _)| at.elapsed() > grace));
            due.filter_map(|(task, held)| {
                let (_, panicked) = held.left.replace((Instant::now(), held.left?.1))?;
                Some((task.clone(), held.thread.clone(), held.lease.clone(), panicked))
            })
            .collect()
        };
        for (task, thread, lease, panicked) in overdue {
            tracing::error!(%task, panicked, "whoever ran a task has gone away without a last word");
            if !panicked {
                put_back(&self.writer, (task, thread, lease));
                continue;
            }
            let detail = BROKEN.replace("{id}", task.as_str());
            let turn = Turn::Ends {
                status: TaskStatus::Error,
                why: Some(Why::Internal),
                problem: Some(Problem::internal(detail.clone())),
                detail,
                result: None,
                output: None,
            };
            if let Err(error) = self.write(Write::Step(Box::new(empty_step((task, thread, lease), turn)))).await {
                tracing::warn!(error = cofferdam_core::chain(&error), "it could not be ended yet");
            }
        }
    }
}

/// Shared by the writer, the workers and those who watch tasks.
pub(crate) type SharedHeld = Arc<Held>;
