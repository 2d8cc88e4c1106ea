//! Threads: followed, forked, deleted.

use cofferdam_contract::work::ThreadInfo;
use cofferdam_contract::{Problem, TaskId, ThreadId};
use cofferdam_core::{Caller, random_bits};
use cofferdam_store::{Forked, TaskRow, ThreadDeleted, ThreadRow};

use crate::follow::{Follow, Until};
use crate::info::thread_info;
use crate::{Error, Tasks};

/// Events that are passed over one after another to find a task's first one; more are searched by their time.
const MAX_PASSED: u64 = 2_000;
/// The difference that clocks of several controllers may have.
const MAX_CLOCK_DIFFERENCE_MS: i64 = 120_000;

impl Tasks {
    /// Follows a thread after an event: stored events first, then live ones, without a gap and without doubles. With `until`, only
    /// the events of this task, and the stream ends after its last one.
    ///
    /// # Errors
    /// There is no such thread or task in the caller's organization; too many streams are open.
    pub async fn follow(
        &self,
        caller: &Caller,
        thread: &ThreadId,
        after: u64,
        until: Option<TaskId>,
    ) -> Result<Follow, Error> {
        // The thread before the task: a task that has not ended then ends with an event that comes after.
        let row = self.thread_row(caller, thread).await?;
        let Some(task) = until else {
            return Follow::new(
                &self.hub,
                (&row.organization, thread),
                row.last_event,
                after.min(row.last_event),
                Until::Never,
            );
        };
        let task = self.row(caller, &task).await?;
        if task.thread != *thread {
            return Err(Problem::not_found(format!("The thread {thread} has no task {}.", task.id)).into());
        }
        let (have, until) = match task.status.is_final() {
            true => {
                let row = self.thread_row(caller, thread).await?;
                (row.last_event, Until::Number(task.id.clone(), row.last_event))
            }
            false => (row.last_event, Until::Finished(task.id.clone(), row.last_event)),
        };
        let after = match after {
            0 => self.before_first(&row, &task).await?,
            after => after.min(have),
        };
        Follow::new(&self.hub, (&row.organization, thread), have, after, until)
    }

    /// Follows a task after an event, from its first one with 0.
    ///
    /// # Errors
    /// There is no such task in the caller's organization; too many streams are open.
    pub async fn follow_task(&self, caller: &Caller, task: &TaskId, after: u64) -> Result<Follow, Error> {
        let row = self.row(caller, task).await?;
        self.follow(caller, &row.thread, after, Some(row.id)).await
    }

    /// A number before the first event of a task, not far from it.
    async fn before_first(&self, thread: &ThreadRow, task: &TaskRow) -> Result<u64, Error> {
        let begun = task.created_at_ms.saturating_sub(MAX_CLOCK_DIFFERENCE_MS);
        let (mut low, mut high) = (0, thread.last_event);
        while high.saturating_sub(low) > MAX_PASSED {
            let middle = low + (high - low) / 2;
            match self.store.events(&thread.id, middle, 1).await?.first() {
                Some(event) if event.at_ms < begun => low = middle,
                Some(_) | None => high = middle,
            }
        }
        Ok(low)
    }

    /// Copies a thread's messages up to a number into a new thread, which goes its own way from there.
    ///
    /// # Errors
    /// There is no such thread in the caller's organization, or it has fewer messages.
    pub async fn fork_thread(
        &self,
        caller: &Caller,
        thread: &ThreadId,
        up_to: Option<u64>,
    ) -> Result<ThreadInfo, Error> {
        let row = self.thread_row(caller, thread).await?;
        let up_to = up_to.unwrap_or(row.last_message);
        if up_to > row.last_message {
            let detail = format!("message: the thread has {} messages; name one of them", row.last_message);
            return Err(Problem::invalid(detail).into());
        }
        let to = ThreadId::from_random(random_bits()?);
        match self.store.fork_thread(&caller.organization, thread, up_to, &to, &caller.key).await? {
            Forked::Done(row) => Ok(thread_info(*row)),
            Forked::Missing => Err(missing(thread).into()),
        }
    }

    /// Deletes a thread with its tasks, messages and events.
    ///
    /// # Errors
    /// There is no such thread in the caller's organization, or a task of it has not ended.
    pub async fn delete_thread(&self, caller: &Caller, thread: &ThreadId) -> Result<(), Error> {
        match self.store.delete_thread(&caller.organization, thread).await? {
            ThreadDeleted::Done => Ok(()),
            ThreadDeleted::Missing => Err(missing(thread).into()),
            ThreadDeleted::Busy => {
                let row = self.thread_row(caller, thread).await?;
                let task = row.active.map_or_else(|| "a task".to_owned(), |task| format!("the task {task}"));
                let detail =
                    format!("In the thread {thread}, {task} has not ended; stop it first (DELETE /v1/tasks/ID).");
                Err(Problem::conflict(detail).into())
            }
        }
    }
}

fn missing(thread: &ThreadId) -> Problem {
    Problem::not_found(format!("There is no thread {thread}. GET /v1/threads lists them."))
}
