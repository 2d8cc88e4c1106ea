//! Steps of tasks by the workers that have them, and the turns that they take.

use cofferdam_contract::TaskId;
use cofferdam_contract::work::{TaskStatus, Why};

use super::state::{EXPIRY, End, READY, State};
use crate::work::rows::{Asked, ReceiptRow, ReceiptState, Step, Turn, Used, Written};

fn add_up(used: &mut Used, more: &Used) {
    used.steps = used.steps.saturating_add(more.steps);
    used.prompt_tokens = used.prompt_tokens.saturating_add(more.prompt_tokens);
    used.completion_tokens = used.completion_tokens.saturating_add(more.completion_tokens);
    used.cache_read_tokens = used.cache_read_tokens.saturating_add(more.cache_read_tokens);
    used.cache_write_tokens = used.cache_write_tokens.saturating_add(more.cache_write_tokens);
    used.cost = used.cost.saturating_add(more.cost);
    used.worked_ms = used.worked_ms.saturating_add(more.worked_ms);
}

pub(super) fn do_step(state: &mut State, step: &Step) -> Result<(), Written> {
    let id = &step.task;
    if !state.has(id, &step.lease) || state.task(id).is_none_or(|row| row.thread != step.thread) {
        return Err(Written::Lost);
    }
    state.say(id, &step.thread, &step.messages);
    for receipt in &step.receipts {
        put_receipt(state, id, receipt);
    }
    if let Some(thread) = state.thread(&step.thread) {
        for (key, value) in &step.state {
            match value.is_null() {
                true => thread.state.remove(key),
                false => thread.state.insert(key.clone(), value.clone()),
            };
        }
    }
    if let Some(row) = state.change(id) {
        add_up(&mut row.used, &step.used);
        for tool in &step.used_tools {
            if !row.used_tools.contains(tool) {
                row.used_tools.push(tool.clone());
            }
        }
        if step.used.steps > 0 {
            row.lost = 0;
            row.retries = 0;
        }
    }
    if gives_way(state, id, &step.turn) {
        state.tell(id, &step.thread, &step.events);
        state.release(id);
    } else {
        turn(state, id, &step.turn);
        state.tell(id, &step.thread, &step.events);
    }
    Ok(())
}

/// Returns true if what was asked of the task takes the place of the step's own turn, because nobody will have it afterwards.
fn gives_way(state: &State, id: &TaskId, turn: &Turn) -> bool {
    match (state.task(id).and_then(|row| row.asked), turn) {
        (None, _) | (_, Turn::Goes | Turn::Ends { .. }) => false,
        // It waits for a person as it is.
        (Some(Asked::Pause), Turn::Parks { status: TaskStatus::Paused, .. }) => false,
        (Some(Asked::Stop | Asked::Pause), Turn::Parks { .. } | Turn::Again { .. }) => true,
    }
}

fn turn(state: &mut State, id: &TaskId, turn: &Turn) {
    let woken = state.task(id).is_some_and(|row| row.woken);
    match turn {
        Turn::Goes => {}
        Turn::Ends { status, why, detail, result, output, problem } => {
            let end = End {
                status: *status,
                why: *why,
                detail: detail.clone(),
                result: result.clone(),
                output: output.clone(),
                problem: problem.clone(),
            };
            state.end(id, end);
        }
        Turn::Parks { .. } if woken => state.ready(id),
        Turn::Parks { status, why, detail } => {
            let now = state.now_ms;
            if let Some(row) = state.change(id) {
                row.status = *status;
                row.why = Some(*why);
                detail.clone_into(&mut row.detail);
                row.lease = None;
                row.asked = None;
                row.paused_at_ms = (*status == TaskStatus::Paused).then_some(now);
            }
        }
        Turn::Again { at_ms: None, .. } => state.ready(id),
        Turn::Again { why: _, detail, at_ms: Some(at) } => {
            if let Some(row) = state.change(id) {
                row.status = TaskStatus::Pending;
                row.why = Some(Why::WaitsForRetry);
                detail.clone_into(&mut row.detail);
                row.lease = None;
                row.woken = false;
                row.retries += 1;
            }
            state.timers.insert((id.clone(), READY, String::new()), Some(*at));
        }
    }
}

/// Returns true if a person is asked about the call.
pub(super) fn asks(state: ReceiptState) -> bool {
    matches!(state, ReceiptState::AwaitingApproval | ReceiptState::Unknown)
}

fn put_receipt(state: &mut State, task: &TaskId, receipt: &ReceiptRow) {
    let key = (task.clone(), receipt.call.clone());
    if let Some((old, _)) = state.receipts.get(&key)
        && asks(receipt.state)
        && !(asks(old.state) || old.state == ReceiptState::Sent)
    {
        // A person has answered meanwhile.
        return;
    }
    let row = ReceiptRow { task: task.clone(), updated_at_ms: state.now_ms, ..receipt.clone() };
    if let Some(expires) = row.expires_at_ms {
        let at = asks(row.state).then_some(expires);
        state.timers.insert((task.clone(), EXPIRY, row.call.clone()), at);
    }
    state.receipts.insert(key, (row, true));
}
