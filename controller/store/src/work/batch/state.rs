//! The rows that a batch works on, in memory, and the rules that hold for them: the order of a thread's tasks, parking and
//! waking, the end of a task. Never touches the database: `load.rs` has read the rows and locked them, `save.rs` writes them.

use std::collections::{BTreeMap, HashMap};

use cofferdam_contract::work::{EventType, TaskStatus, Why};
use cofferdam_contract::{Problem, TaskId, ThreadId};
use serde_json::Value;

use crate::work::rows::{
    Asked, Lane, Lease, MessageRow, NewEvent, NewMessage, ReceiptRow, ReceiptState, TaskRow, ThreadRow, ToolResult,
    WorkEventRow,
};

/// The kinds of timers.
pub(in crate::work) const READY: &str = "ready";
pub(in crate::work) const DEADLINE: &str = "deadline";
pub(in crate::work) const EXPIRY: &str = "expiry";
pub(in crate::work) const CHILDREN: &str = "children";

#[derive(Debug)]
pub(super) struct Thread {
    pub(super) row: ThreadRow,
    pub(super) is_new: bool,
    /// The number of the last message before the batch.
    pub(super) before: u64,
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) row: TaskRow,
    pub(super) is_new: bool,
    pub(super) changed: bool,
    /// True if it was in the queue before the batch.
    pub(super) was_queued: bool,
    /// The place among those that the batch made ready.
    pub(super) place: u64,
}

/// The end of a task.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) status: TaskStatus,
    pub(super) why: Option<Why>,
    pub(super) detail: String,
    pub(super) result: Option<String>,
    pub(super) output: Option<Value>,
    pub(super) problem: Option<Problem>,
}

impl End {
    pub(super) fn stopped(why: Option<Why>, detail: &str) -> Self {
        let why = Some(why.unwrap_or(Why::AskedToStop));
        Self { status: TaskStatus::Stopped, why, detail: detail.to_owned(), result: None, output: None, problem: None }
    }
}

/// Receipts by task and call.
pub(super) type Receipts = HashMap<(TaskId, String), (ReceiptRow, bool)>;
/// Timers by task, kind and call; `None` takes one out.
pub(super) type Timers = BTreeMap<(TaskId, &'static str, String), Option<i64>>;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) now_ms: i64,
    pub(super) threads: HashMap<ThreadId, Thread>,
    pub(super) tasks: HashMap<TaskId, Task>,
    /// With true where it has changed.
    pub(super) receipts: Receipts,
    pub(super) timers: Timers,
    pub(super) messages: Vec<MessageRow>,
    pub(super) events: Vec<WorkEventRow>,
    /// Lanes that got a task by the operation that runs.
    pub(super) queued: Vec<Lane>,
    /// Tasks that were made ready so far.
    pub(super) places: u64,
}

/// Returns true if a task in this state is in the queue.
pub(super) fn is_queued(row: &TaskRow) -> bool {
    row.status == TaskStatus::Pending && !matches!(row.why, Some(Why::WaitsForThread | Why::WaitsForRetry))
}

impl State {
    pub(super) fn task(&self, id: &TaskId) -> Option<&TaskRow> {
        Some(&self.tasks.get(id)?.row)
    }

    /// The row of a task, to be changed.
    pub(super) fn change(&mut self, id: &TaskId) -> Option<&mut TaskRow> {
        let task = self.tasks.get_mut(id)?;
        task.changed = true;
        task.row.updated_at_ms = self.now_ms;
        Some(&mut task.row)
    }

    pub(super) fn thread(&mut self, id: &ThreadId) -> Option<&mut ThreadRow> {
        Some(&mut self.threads.get_mut(id)?.row)
    }

    /// The last numbers of a thread: of its events and messages.
    pub(super) fn last(&self, id: &ThreadId) -> (u64, u64) {
        self.threads.get(id).map_or((0, 0), |thread| (thread.row.last_event, thread.row.last_message))
    }

    /// The next turn of a thread: larger than that of every operation before which added something to the thread.
    pub(super) fn next_turn(&self, id: &ThreadId) -> u64 {
        let (event, message) = self.last(id);
        event + message + 1
    }

    pub(super) fn say(&mut self, task: &TaskId, thread: &ThreadId, new: &[NewMessage]) {
        let now = self.now_ms;
        let Some(Thread { row, .. }) = self.threads.get_mut(thread) else { return };
        for NewMessage { role, content } in new {
            row.last_message += 1;
            self.messages.push(MessageRow {
                thread: thread.clone(),
                seq: row.last_message,
                task: task.clone(),
                role: *role,
                content: content.clone(),
                at_ms: now,
            });
        }
        row.updated_at_ms = now;
    }

    /// Adds events. Those that show a task, and have no data, show it as it is now.
    pub(super) fn tell(&mut self, task: &TaskId, thread: &ThreadId, new: &[NewEvent]) {
        let now = self.now_ms;
        for NewEvent { kind, data } in new {
            let data = match kind {
                EventType::TaskCreated | EventType::TaskUpdated | EventType::TaskFinished if data.is_null() => {
                    let info = self.task(task).map(TaskRow::info);
                    info.and_then(|info| serde_json::to_value(info).ok()).unwrap_or_default()
                }
                _ => data.clone(),
            };
            let Some(Thread { row, .. }) = self.threads.get_mut(thread) else { return };
            row.last_event += 1;
            row.updated_at_ms = now;
            let id = row.last_event;
            self.events.push(WorkEventRow {
                thread: thread.clone(),
                id,
                task: task.clone(),
                kind: *kind,
                data,
                at_ms: now,
            });
        }
    }

    /// Adds the event that the task's state has changed.
    pub(super) fn tell_state(&mut self, id: &TaskId) {
        let Some(row) = self.task(id) else { return };
        let kind = if row.status.is_final() { EventType::TaskFinished } else { EventType::TaskUpdated };
        let thread = row.thread.clone();
        self.tell(id, &thread, &[NewEvent { kind, data: Value::Null }]);
    }

    /// Makes a task ready: it goes into the queue, or waits for the task of its thread that is before it.
    pub(super) fn ready(&mut self, id: &TaskId) {
        let Some(row) = self.task(id) else { return };
        let thread_id = row.thread.clone();
        let turn = self.next_turn(&thread_id);
        // The thread of a parent is not read: a parked task is the active one of its thread, and stays it.
        let mut waits = false;
        if let Some(thread) = self.thread(&thread_id) {
            waits = thread.active.as_ref().is_some_and(|active| active != id);
            if waits {
                thread.waiting += 1;
            } else {
                thread.active = Some(id.clone());
            }
        }
        let Some(row) = self.change(id) else { return };
        row.status = TaskStatus::Pending;
        row.lease = None;
        row.woken = false;
        row.why = waits.then_some(Why::WaitsForThread);
        row.detail.clear();
        row.paused_at_ms = None;
        if waits {
            row.turn = turn;
        } else {
            let lane = Lane { organization: row.organization.clone(), agent: row.agent.clone() };
            self.queued.push(lane);
            self.places += 1;
            let place = self.places;
            if let Some(task) = self.tasks.get_mut(id) {
                task.place = place;
            }
        }
    }

    /// Takes a task that has not ended out of what it waits for.
    fn unwait(&mut self, id: &TaskId) {
        let Some(row) = self.task(id) else { return };
        let (why, pending, thread) = (row.why, row.status == TaskStatus::Pending, row.thread.clone());
        match why {
            Some(Why::WaitsForThread) if pending => {
                if let Some(thread) = self.thread(&thread) {
                    thread.waiting = thread.waiting.saturating_sub(1);
                }
            }
            Some(Why::WaitsForRetry) if pending => {
                self.timers.insert((id.clone(), READY, String::new()), None);
            }
            _ => {}
        }
    }

    /// A task that nobody has the lease of waits for a person from now on.
    pub(super) fn pause(&mut self, id: &TaskId, why: Why, detail: &str) {
        self.unwait(id);
        let now = self.now_ms;
        let Some(row) = self.change(id) else { return };
        row.status = TaskStatus::Paused;
        row.why = Some(why);
        detail.clone_into(&mut row.detail);
        row.lease = None;
        row.asked = None;
        row.paused_at_ms = Some(now);
    }

    /// Ends a task: the next one of its thread is ready, its parent is told, its children are to be stopped.
    pub(super) fn end(&mut self, id: &TaskId, end: End) {
        self.unwait(id);
        let now = self.now_ms;
        let stops_children = end.status != TaskStatus::Completed;
        let Some(row) = self.change(id) else { return };
        row.status = end.status;
        row.why = end.why;
        row.detail = end.detail;
        row.result = end.result;
        row.output = end.output;
        row.problem = end.problem;
        row.lease = None;
        row.asked = None;
        row.woken = false;
        row.paused_at_ms = None;
        row.finished_at_ms = Some(now);
        let (thread, has_deadline) = (row.thread.clone(), row.deadline_ms.is_some());
        if has_deadline {
            self.timers.insert((id.clone(), DEADLINE, String::new()), None);
        }
        if stops_children {
            self.timers.insert((id.clone(), CHILDREN, String::new()), Some(now));
        }
        self.next_of(&thread, id);
        self.tell_parent(id);
    }

    /// The first waiting task of a thread is ready, if `ended` was the one before it.
    fn next_of(&mut self, id: &ThreadId, ended: &TaskId) {
        let Some(thread) = self.thread(id) else { return };
        if thread.active.as_ref() != Some(ended) {
            return;
        }
        thread.active = None;
        if thread.waiting == 0 {
            return;
        }
        let waits = |task: &&Task| {
            task.row.thread == *id
                && task.row.status == TaskStatus::Pending
                && task.row.why == Some(Why::WaitsForThread)
        };
        let next = self.tasks.values().filter(waits).min_by_key(|task| task.row.turn).map(|task| task.row.id.clone());
        // Without one, the number was wrong: nothing is lost, because the next task of the thread starts at once.
        if let Some(thread) = self.thread(id) {
            thread.waiting = next.as_ref().map_or(0, |_| thread.waiting - 1);
        }
        if let Some(next) = next {
            self.ready(&next);
        }
    }

    /// The receipt of the call that made the task gets its result, and the parent is woken after the last of its sub-agents.
    fn tell_parent(&mut self, id: &TaskId) {
        let now = self.now_ms;
        let Some(row) = self.task(id) else { return };
        let Some(parent) = row.parent.clone() else { return };
        let call = (parent.clone(), row.parent_call.clone());
        let result = result_of(row);
        match self.receipts.get_mut(&call) {
            Some((receipt, changed)) if receipt.state == ReceiptState::Child && receipt.child.as_ref() == Some(id) => {
                receipt.state = ReceiptState::Done;
                receipt.result = Some(result);
                receipt.updated_at_ms = now;
                *changed = true;
            }
            _ => return,
        }
        let more = |(key, (receipt, _)): (&(TaskId, String), &(ReceiptRow, bool))| {
            key.0 == parent && receipt.state == ReceiptState::Child
        };
        if !self.receipts.iter().any(more) {
            self.wake(&parent, &[Why::WaitsForSubAgent]);
        }
    }

    /// Something that a task waits for has happened: it is ready if it is parked for that, and told later if it runs.
    pub(super) fn wake(&mut self, id: &TaskId, parked_for: &[Why]) {
        let Some(row) = self.task(id) else { return };
        match (row.status, row.lease.is_some()) {
            (TaskStatus::Executing, true) => {
                if let Some(row) = self.change(id) {
                    row.woken = true;
                }
            }
            (TaskStatus::Executing | TaskStatus::Paused, false)
                if row.why.is_some_and(|why| parked_for.contains(&why)) =>
            {
                self.ready(id);
            }
            _ => {}
        }
    }

    /// Asks for a stop or a pause: at once where nobody has the lease. Returns false if the state does not allow it.
    pub(super) fn ask(&mut self, id: &TaskId, asked: Asked, why: Why, detail: &str) -> bool {
        let Some(row) = self.task(id) else { return false };
        if row.status.is_final() {
            return false;
        }
        match (row.lease.is_some(), asked) {
            (true, _) => {
                let stops = row.asked == Some(Asked::Stop);
                if let Some(row) = self.change(id).filter(|_| !stops) {
                    row.asked = Some(asked);
                    row.why = Some(why);
                    detail.clone_into(&mut row.detail);
                }
            }
            (false, Asked::Stop) => {
                self.end(id, End::stopped(Some(why), detail));
                self.tell_state(id);
            }
            (false, Asked::Pause) if row.status == TaskStatus::Paused => return false,
            (false, Asked::Pause) => {
                self.pause(id, why, detail);
                self.tell_state(id);
            }
        }
        true
    }

    /// A task loses its lease without a step of its own: it is handed out again, or does what it was asked to do.
    pub(super) fn release(&mut self, id: &TaskId) {
        let Some(row) = self.task(id) else { return };
        let (asked, why, detail) = (row.asked, row.why, row.detail.clone());
        match asked {
            Some(Asked::Stop) => self.end(id, End::stopped(why, &detail)),
            Some(Asked::Pause) => self.pause(id, why.unwrap_or(Why::AskedToPause), &detail),
            None => self.ready(id),
        }
        self.tell_state(id);
    }

    /// Returns true if the worker has the task now.
    pub(super) fn has(&self, id: &TaskId, lease: &Lease) -> bool {
        self.task(id).is_some_and(|row| row.lease.as_ref() == Some(lease))
    }
}

/// The result of a sub-agent's task, as its parent's model is told.
fn result_of(row: &TaskRow) -> ToolResult {
    let said = row.result.clone().filter(|text| !text.is_empty());
    let problem = || row.problem.as_ref().map(|problem| problem.detail.clone());
    let detail = || Some(row.detail.clone()).filter(|detail| !detail.is_empty());
    let why = || row.why.map_or_else(String::new, |why| format!(": {}", why.name()));
    let text = match row.status {
        TaskStatus::Completed => said.unwrap_or_default(),
        _ => said
            .or_else(problem)
            .or_else(detail)
            .unwrap_or_else(|| format!("The task ended as {}{}.", row.status.name(), why())),
    };
    ToolResult { text, value: row.output.clone(), is_error: row.status != TaskStatus::Completed }
}
