//! Rows as they are shown.

use cofferdam_contract::work::{ApprovalInfo, MessageInfo, TaskInfo, ThreadInfo, Timestamp};
use cofferdam_contract::{AgentId, TaskId, ThreadId};
use cofferdam_core::now_ms;
use cofferdam_store::{MessageRow, ReceiptRow, ReceiptState, TaskRow, ThreadRow};
use serde_json::Value;

/// The task as it is shown; `receipts` are those that wait for a person, `children` the tasks that it has made.
pub fn info(row: &TaskRow, receipts: &[ReceiptRow], children: &[TaskId]) -> TaskInfo {
    let mut info = row.info();
    if let (Some(started), None) = (row.started_at_ms, row.finished_at_ms) {
        let ran = now_ms().saturating_sub(started).max(0);
        info.duration = std::time::Duration::from_millis(ran.unsigned_abs()).as_secs_f64();
    }
    info.sub_executions = children.to_vec();
    if !row.status.is_final() {
        info.waits_for = receipts
            .iter()
            .filter(|receipt| waits(receipt.state))
            .map(|receipt| approval(receipt, &row.thread, &row.agent))
            .collect();
    }
    info
}

/// Checks if a person is asked about a call.
pub(crate) fn waits(state: ReceiptState) -> bool {
    matches!(state, ReceiptState::AwaitingApproval | ReceiptState::Unknown)
}

/// A tool call that waits for a person.
pub fn approval(receipt: &ReceiptRow, thread: &ThreadId, agent: &AgentId) -> ApprovalInfo {
    ApprovalInfo {
        call_id: receipt.call.clone(),
        task_id: receipt.task.clone(),
        thread_id: thread.clone(),
        agent_id: agent.clone(),
        tool: receipt.tool.clone(),
        arguments: serde_json::from_str(&receipt.arguments)
            .unwrap_or_else(|_| Value::String(receipt.arguments.clone())),
        digest: receipt.digest.clone(),
        unknown_outcome: receipt.state == ReceiptState::Unknown,
        message: Some(receipt.message.clone()).filter(|message| !message.is_empty()),
        requested_at: Timestamp(receipt.created_at_ms),
        expires_at: receipt.expires_at_ms.map(Timestamp),
    }
}

/// The thread as it is shown.
pub fn thread_info(row: ThreadRow) -> ThreadInfo {
    ThreadInfo {
        id: row.id,
        agent_id: row.agent,
        organization_id: row.organization,
        title: Some(row.title).filter(|title| !title.is_empty()),
        messages: row.last_message,
        last_event: row.last_event,
        active_task: row.active,
        forked_from: row.forked_from,
        created_at: Timestamp(row.created_at_ms),
        updated_at: Timestamp(row.updated_at_ms),
    }
}

/// The message as it is shown: without reasoning in a provider's own form, which is of use to that model alone.
pub fn message_info(row: MessageRow) -> MessageInfo {
    let mut content = row.content;
    content.opaque = None;
    MessageInfo {
        seq: row.seq,
        thread_id: row.thread,
        task_id: row.task,
        role: row.role,
        content,
        created_at: Timestamp(row.at_ms),
    }
}
