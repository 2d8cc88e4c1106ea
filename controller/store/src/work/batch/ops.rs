//! The operations of a batch, each carried out on the rows in memory: whole, or not at all where its fence fails.

use cofferdam_contract::work::{TaskStatus, Why};
use cofferdam_contract::{OrganizationId, TaskId, ThreadId};

use super::state::{CHILDREN, DEADLINE, EXPIRY, End, READY, State, Task, Thread};
use super::steps::{asks, do_step};
use crate::work::rows::{Asked, NewTask, ReceiptRow, ReceiptState, Settle, TaskRow, Turn, Write, Written};

/// An operation: a caller's, or one of ours.
#[derive(Debug, Clone)]
pub(in crate::work) enum Op<'a> {
    Write(&'a Write),
    /// The worker died: counts it, and ends what took too many down with it.
    TakeBack {
        task: TaskId,
        worker: String,
        max_lost: u64,
    },
    /// The worker ends in peace.
    Release {
        task: TaskId,
        worker: String,
    },
    /// The time of a retry has come.
    Ready {
        task: TaskId,
    },
    /// The deadline has passed.
    Deadline {
        task: TaskId,
    },
    /// The time for an answer about a call is over.
    Expire {
        task: TaskId,
        call: String,
    },
    /// The task that made it has ended.
    StopChild {
        task: TaskId,
    },
    /// A timer that has fired is taken out, unless it was set to another time.
    Fired {
        task: TaskId,
        kind: &'static str,
        call: String,
    },
}

impl Op<'_> {
    /// The task that it is about.
    pub(super) fn task(&self) -> &TaskId {
        match self {
            Self::Write(Write::Add(new)) => &new.task.id,
            Self::Write(Write::Step(step)) => &step.task,
            Self::Write(Write::Settle(settle)) => &settle.task,
            Self::Write(Write::Ask { task, .. } | Write::Resume { task, .. })
            | Self::TakeBack { task, .. }
            | Self::Release { task, .. }
            | Self::Ready { task }
            | Self::Deadline { task }
            | Self::Expire { task, .. }
            | Self::StopChild { task }
            | Self::Fired { task, .. } => task,
        }
    }

    /// The thread, where it is named.
    pub(super) fn thread(&self) -> Option<&ThreadId> {
        match self {
            Self::Write(Write::Add(new)) => Some(&new.task.thread),
            Self::Write(Write::Step(step)) => Some(&step.thread),
            _ => None,
        }
    }

    /// Returns true if the task may end by it.
    pub(super) fn may_end(&self) -> bool {
        match self {
            Self::Write(Write::Step(step)) => !matches!(step.turn, Turn::Goes),
            Self::Write(Write::Ask { asked, .. }) => *asked == Asked::Stop,
            Self::TakeBack { .. } | Self::Release { .. } | Self::Deadline { .. } | Self::StopChild { .. } => true,
            _ => false,
        }
    }

    /// The call whose receipt has to be known.
    pub(super) fn call(&self) -> Option<(&TaskId, &str)> {
        match self {
            Self::Write(Write::Settle(settle)) => Some((&settle.task, &settle.call)),
            Self::Write(Write::Add(new)) => Some((new.task.parent.as_ref()?, &new.task.parent_call)),
            Self::Expire { task, call } => Some((task, call)),
            _ => None,
        }
    }
}

/// Carries out an operation.
pub(super) fn carry_out(state: &mut State, op: &Op<'_>) -> Written {
    state.queued.clear();
    let outcome = match op {
        Op::Write(Write::Add(new)) => add(state, new),
        Op::Write(Write::Step(step)) => do_step(state, step),
        Op::Write(Write::Settle(settle)) => do_settle(state, settle),
        Op::Write(Write::Ask { organization, task, asked, why, detail }) => {
            within(state, organization, task).and_then(|()| match state.ask(task, *asked, *why, detail) {
                true => Ok(()),
                false => Err(conflict(state, task)),
            })
        }
        Op::Write(Write::Resume { organization, task }) => {
            within(state, organization, task).and_then(|()| resume(state, task))
        }
        Op::TakeBack { task, worker, max_lost } => {
            leased(state, task, worker).map(|()| take_back(state, task, *max_lost))
        }
        Op::Release { task, worker } => leased(state, task, worker).map(|()| state.release(task)),
        Op::Ready { task } => retry(state, task),
        Op::Deadline { task } => stop(state, task, Why::DeadlinePassed),
        Op::StopChild { task } => stop(state, task, Why::ParentEnded),
        Op::Expire { task, call } => expire(state, task, call),
        Op::Fired { task, kind, call } => {
            state.timers.entry((task.clone(), kind, call.clone())).or_insert(None);
            Ok(())
        }
    };
    match outcome {
        Ok(()) => done(state, op.task()),
        Err(other) => other,
    }
}

fn done(state: &mut State, task: &TaskId) -> Written {
    let queued = std::mem::take(&mut state.queued);
    let Some(row) = state.task(task) else { return Written::Missing };
    let (event, message) = state.last(&row.thread);
    Written::Done {
        task: task.clone(),
        thread: row.thread.clone(),
        event,
        message,
        asked: row.asked,
        status: row.status,
        queued,
    }
}

fn conflict(state: &State, task: &TaskId) -> Written {
    state.task(task).map_or(Written::Missing, |row| Written::Conflict { status: row.status })
}

fn within(state: &State, organization: &OrganizationId, task: &TaskId) -> Result<(), Written> {
    match state.task(task) {
        Some(row) if row.organization == *organization => Ok(()),
        _ => Err(Written::Missing),
    }
}

fn leased(state: &State, task: &TaskId, worker: &str) -> Result<(), Written> {
    let row = state.task(task).ok_or(Written::Missing)?;
    match &row.lease {
        Some(lease) if lease.worker == worker => Ok(()),
        _ => Err(Written::Lost),
    }
}

fn add(state: &mut State, new: &NewTask) -> Result<(), Written> {
    let id = &new.task.id;
    if let Some(row) = state.task(id) {
        // The same batch was written before, and its end was not heard of.
        return if row.thread == new.task.thread { Ok(()) } else { Err(Written::Missing) };
    }
    match (state.threads.get(&new.task.thread), &new.thread) {
        (Some(_), Some(_)) | (None, None) => return Err(Written::Missing),
        (Some(thread), None)
            if thread.row.organization != new.task.organization || thread.row.agent != new.task.agent =>
        {
            return Err(Written::Missing);
        }
        _ => {}
    }
    if let Some(parent) = &new.task.parent {
        let key = (parent.clone(), new.task.parent_call.clone());
        if let Some((ReceiptRow { child: Some(child), .. }, _)) = state.receipts.get(&key) {
            return Err(Written::Before { task: child.clone(), same: true });
        }
        if new.parent_lease.as_ref().is_none_or(|lease| !state.has(parent, lease)) {
            return Err(Written::Lost);
        }
        let now = state.now_ms;
        let Some((receipt, changed)) = state.receipts.get_mut(&key) else { return Err(Written::Missing) };
        receipt.state = ReceiptState::Child;
        receipt.child = Some(id.clone());
        receipt.updated_at_ms = now;
        *changed = true;
    }
    if let Some(row) = &new.thread {
        let thread = Thread { row: row.clone(), is_new: true, before: 0 };
        state.threads.insert(new.task.thread.clone(), thread);
    }
    let row = TaskRow { status: TaskStatus::Pending, attempt: 0, lease: None, ..new.task.clone() };
    state.tasks.insert(id.clone(), Task { row, is_new: true, changed: true, was_queued: false, place: 0 });
    state.say(id, &new.task.thread, std::slice::from_ref(&new.message));
    let turn = state.next_turn(&new.task.thread);
    if let Some(row) = state.change(id) {
        row.turn = turn;
    }
    state.ready(id);
    state.tell(id, &new.task.thread, &new.events);
    if let Some(at) = new.task.deadline_ms {
        state.timers.insert((id.clone(), DEADLINE, String::new()), Some(at));
    }
    Ok(())
}

fn do_settle(state: &mut State, settle: &Settle) -> Result<(), Written> {
    let id = &settle.task;
    within(state, &settle.organization, id)?;
    let key = (id.clone(), settle.call.clone());
    let (receipt, _) = state.receipts.get(&key).ok_or(Written::Missing)?;
    let digest_fits = settle.digest.as_ref().is_none_or(|digest| *digest == receipt.digest);
    let has_ended = state.task(id).is_none_or(|row| row.status.is_final());
    if has_ended || !digest_fits || !settle.from.contains(&receipt.state) {
        return Err(conflict(state, id));
    }
    let now = state.now_ms;
    if let Some((receipt, changed)) = state.receipts.get_mut(&key) {
        receipt.state = settle.to;
        receipt.decided_by.clone_from(&settle.decided_by);
        receipt.note.clone_from(&settle.note);
        receipt.updated_at_ms = now;
        if let Some((arguments, digest)) = &settle.arguments {
            receipt.arguments.clone_from(arguments);
            receipt.digest.clone_from(digest);
        }
        if settle.result.is_some() {
            receipt.result.clone_from(&settle.result);
        }
        *changed = true;
        if receipt.expires_at_ms.is_some() {
            state.timers.insert((id.clone(), EXPIRY, settle.call.clone()), None);
        }
    }
    state.wake(id, &[Why::NeedsApproval, Why::NeedsDecision]);
    if let Some(row) = state.task(id) {
        let thread = row.thread.clone();
        state.tell(id, &thread, &settle.events);
    }
    Ok(())
}

fn resume(state: &mut State, id: &TaskId) -> Result<(), Written> {
    let row = state.task(id).ok_or(Written::Missing)?;
    let resumes = match (row.status, row.why) {
        (TaskStatus::Paused, Some(Why::AskedToPause | Why::NeedsLogin))
        | (TaskStatus::Error, _)
        | (TaskStatus::Failed, Some(Why::Poison)) => true,
        // A worker has it still: it was asked to pause, and that is taken back.
        (TaskStatus::Executing, _) if row.asked == Some(Asked::Pause) => {
            if let Some(row) = state.change(id) {
                row.asked = None;
                row.why = None;
                row.detail.clear();
            }
            return Ok(());
        }
        _ => false,
    };
    if !resumes {
        return Err(conflict(state, id));
    }
    if row.status.is_final() {
        let deadline = row.deadline_ms;
        let now = state.now_ms;
        if let Some(row) = state.change(id) {
            row.finished_at_ms = None;
            row.result = None;
            row.output = None;
            row.problem = None;
            row.lost = 0;
            row.retries = 0;
            // A deadline that has passed would end it again at once.
            row.deadline_ms = deadline.filter(|at| *at > now);
        }
        state.timers.insert((id.clone(), CHILDREN, String::new()), None);
        if let Some(at) = deadline.filter(|at| *at > now) {
            state.timers.insert((id.clone(), DEADLINE, String::new()), Some(at));
        }
    }
    state.ready(id);
    state.tell_state(id);
    Ok(())
}

fn take_back(state: &mut State, id: &TaskId, max_lost: u64) {
    let Some(row) = state.change(id) else { return };
    row.lost += 1;
    if row.lost <= max_lost || row.asked == Some(Asked::Stop) {
        state.release(id);
        return;
    }
    let detail = format!("{} workers that had it died without finishing a step of it.", row.lost);
    let end =
        End { status: TaskStatus::Failed, why: Some(Why::Poison), detail, result: None, output: None, problem: None };
    state.end(id, end);
    state.tell_state(id);
}

fn retry(state: &mut State, id: &TaskId) -> Result<(), Written> {
    state.timers.entry((id.clone(), READY, String::new())).or_insert(None);
    match state.task(id) {
        Some(row) if row.status == TaskStatus::Pending && row.why == Some(Why::WaitsForRetry) => state.ready(id),
        Some(_) => {}
        None => return Err(Written::Missing),
    }
    Ok(())
}

fn stop(state: &mut State, id: &TaskId, why: Why) -> Result<(), Written> {
    if why == Why::DeadlinePassed {
        state.timers.entry((id.clone(), DEADLINE, String::new())).or_insert(None);
    }
    let detail = match why {
        Why::DeadlinePassed => "Its deadline passed.",
        _ => "The task that made it has ended.",
    };
    match state.ask(id, Asked::Stop, why, detail) {
        true => Ok(()),
        false => Err(conflict(state, id)),
    }
}

fn expire(state: &mut State, id: &TaskId, call: &str) -> Result<(), Written> {
    state.timers.entry((id.clone(), EXPIRY, call.to_owned())).or_insert(None);
    let now = state.now_ms;
    let key = (id.clone(), call.to_owned());
    let (receipt, changed) = state.receipts.get_mut(&key).ok_or(Written::Missing)?;
    if !asks(receipt.state) {
        return Err(Written::Lost);
    }
    receipt.state = ReceiptState::Expired;
    receipt.updated_at_ms = now;
    *changed = true;
    state.wake(id, &[Why::NeedsApproval, Why::NeedsDecision]);
    Ok(())
}
