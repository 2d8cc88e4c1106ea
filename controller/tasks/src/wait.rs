//! Waiting for a task's end.

use std::time::Duration;

use cofferdam_contract::TaskId;
use cofferdam_contract::work::{EventType, TaskInfo, TaskStatus};
use cofferdam_core::Caller;
use cofferdam_store::TaskRow;
use tokio::time::Instant;

use crate::{Error, Tasks};

/// The interval at which a task is looked at, whatever its events say.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

impl Tasks {
    /// Waits until a task has ended or is paused, at most so long; returns it as it is then. Whoever waits or leaves changes nothing.
    ///
    /// # Errors
    /// There is no such task in the caller's organization; too many streams are open.
    pub async fn wait(&self, caller: &Caller, task: &TaskId, timeout: Duration) -> Result<TaskInfo, Error> {
        let end = Instant::now() + timeout;
        let mut row = self.row(caller, task).await?;
        if !is_over(&row) {
            let thread = self.thread_row(caller, &row.thread).await?;
            let mut events = self.follow(caller, &row.thread, thread.last_event, Some(task.clone())).await?;
            row = self.row(caller, task).await?;
            while !is_over(&row) && Instant::now() < end {
                let look = end.min(Instant::now() + LOOK_INTERVAL);
                match tokio::time::timeout_at(look, events.next()).await {
                    Ok(Some(Ok(page))) if !page.iter().any(|event| may_end(event.kind)) => continue,
                    Ok(Some(Ok(_))) | Err(_) => row = self.row(caller, task).await?,
                    Ok(Some(Err(error))) => return Err(error),
                    Ok(None) => {
                        row = self.row(caller, task).await?;
                        break;
                    }
                }
            }
        }
        self.shown(&row).await
    }
}

fn is_over(row: &TaskRow) -> bool {
    row.status.is_final() || row.status == TaskStatus::Paused
}

fn may_end(kind: EventType) -> bool {
    matches!(
        kind,
        EventType::TaskFinished | EventType::TaskUpdated | EventType::ApprovalRequested | EventType::AuthEvent
    )
}
