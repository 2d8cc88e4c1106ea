//! An event as followers get it: encoded once for all of them.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use cofferdam_contract::OrganizationId;
use cofferdam_contract::work::{EventInfo, EventType, Timestamp};
use cofferdam_store::WorkEventRow;

/// An event of a thread, and its server-sent form.
#[derive(Debug)]
pub struct Event {
    info: EventInfo,
    frame: OnceLock<Bytes>,
}

impl Event {
    pub fn new(info: EventInfo) -> Arc<Self> {
        Arc::new(Self { info, frame: OnceLock::new() })
    }

    /// The event itself.
    pub fn info(&self) -> &EventInfo {
        &self.info
    }

    pub(crate) fn of_row(organization: &OrganizationId, row: WorkEventRow) -> EventInfo {
        EventInfo {
            id: row.id,
            kind: row.kind,
            task_id: row.task,
            thread_id: row.thread,
            organization_id: organization.clone(),
            time: Timestamp(row.at_ms),
            data: row.data,
        }
    }

    /// The event as `text/event-stream` has it: id, name, and the whole of it as JSON.
    pub fn frame(&self) -> Bytes {
        self.frame
            .get_or_init(|| {
                let mut frame = format!("id: {}\nevent: {}\ndata: ", self.info.id, self.info.kind.name()).into_bytes();
                // Writing to memory cannot fail, and an event can always be written as JSON, which has no newline.
                let _ = serde_json::to_writer(&mut frame, &self.info);
                frame.extend_from_slice(b"\n\n");
                Bytes::from(frame)
            })
            .clone()
    }

    /// The bytes of memory that it may take.
    pub(crate) fn weight(&self) -> usize {
        2 * self.frame().len() + 256
    }
}

impl Deref for Event {
    type Target = EventInfo;

    fn deref(&self) -> &EventInfo {
        &self.info
    }
}

/// Checks if the data of an event of this type is the task.
pub(crate) fn is_about_task(kind: EventType) -> bool {
    match kind {
        EventType::TaskCreated | EventType::TaskUpdated | EventType::TaskFinished => true,
        EventType::Chunk
        | EventType::Think
        | EventType::Analyze
        | EventType::ToolCallRequest
        | EventType::ToolCallResult
        | EventType::SubAgentTrigger
        | EventType::PlanUpdated
        | EventType::AuthEvent
        | EventType::ApprovalRequested
        | EventType::ApprovalSettled
        | EventType::TaskCompactization
        | EventType::ContextStatus
        | EventType::AnswerReset => false,
    }
}
