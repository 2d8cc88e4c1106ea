//! Steering: stop, pause, resume, replay. What the state of a task does not allow is refused with what to do instead.

use cofferdam_contract::work::{TaskInfo, TaskStatus, Why};
use cofferdam_contract::{AgentId, Problem, TaskId};
use cofferdam_core::Caller;
use cofferdam_store::{Asked, TaskQuery, TaskRow, Write, Written};

use futures_util::future::join_all;

use crate::{Error, Tasks};

/// Dead letters that are replayed at once.
const MAX_REPLAYED: u32 = 100;

impl Tasks {
    /// Stops a task: at once if nobody works on it, else as soon as its worker hears of it.
    ///
    /// # Errors
    /// There is no such task in the caller's organization, or it has ended.
    pub async fn stop(&self, caller: &Caller, task: &TaskId) -> Result<TaskInfo, Error> {
        let detail = "Stopped by request.";
        self.ask(caller, task, Asked::Stop, Why::AskedToStop, detail).await
    }

    /// Pauses a task: at once if nobody works on it, else at its worker's next step.
    ///
    /// # Errors
    /// There is no such task in the caller's organization, or it has ended.
    pub async fn pause(&self, caller: &Caller, task: &TaskId) -> Result<TaskInfo, Error> {
        let detail = "Paused by request. POST /v1/tasks/{id}/resume lets it go on.";
        self.ask(caller, task, Asked::Pause, Why::AskedToPause, detail).await
    }

    async fn ask(
        &self,
        caller: &Caller,
        task: &TaskId,
        asked: Asked,
        why: Why,
        detail: &str,
    ) -> Result<TaskInfo, Error> {
        let row = self.row(caller, task).await?;
        match (row.status, asked) {
            // Said twice is said once.
            (TaskStatus::Stopped, Asked::Stop) => return self.shown(&row).await,
            (TaskStatus::Paused, Asked::Pause) => return self.shown(&row).await,
            _ => {}
        }
        let write = Write::Ask {
            organization: caller.organization.clone(),
            task: task.clone(),
            asked,
            why,
            detail: detail.replace("{id}", task.as_str()),
        };
        match self.write(write).await? {
            Written::Done { .. } => self.get(caller, task).await,
            Written::Conflict { status } => Err(has_ended(task, status).into()),
            other => Err(odd(task, &other).into()),
        }
    }

    /// Lets a task go on that was paused by request, or waits for a login.
    ///
    /// # Errors
    /// There is no such task in the caller's organization, or it does not wait for that.
    pub async fn resume(&self, caller: &Caller, task: &TaskId) -> Result<TaskInfo, Error> {
        let row = self.row(caller, task).await?;
        if row.status.is_final() {
            let detail = match is_dead_letter(&row) {
                true => format!(
                    "The task {task} has ended in `{}`. POST /v1/tasks/{task}/replay runs it again.",
                    row.status.name()
                ),
                false => has_ended(task, row.status).detail,
            };
            return Err(Problem::conflict(detail).into());
        }
        self.go_on(caller, &row).await
    }

    /// Runs a dead letter again: a task in `error`, or one that failed as poison. It keeps its thread, its messages, and the results of
    /// the calls that were made.
    ///
    /// # Errors
    /// There is no such task in the caller's organization, or it is no dead letter.
    pub async fn replay(&self, caller: &Caller, task: &TaskId) -> Result<TaskInfo, Error> {
        let row = self.row(caller, task).await?;
        if !is_dead_letter(&row) {
            let detail = format!(
                "Only tasks in `error` can be replayed, and those that failed as `poison`; {task} is `{}`. For the same question \
                 again, invoke the agent.",
                row.status.name()
            );
            return Err(Problem::conflict(detail).into());
        }
        self.go_on(caller, &row).await
    }

    /// Replays dead letters of an agent, the newest first, a page at a time. Returns those that run again.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn replay_of_agent(&self, caller: &Caller, agent: &AgentId) -> Result<Vec<TaskId>, Error> {
        let query = TaskQuery {
            agent: Some(agent.clone()),
            status: Some(TaskStatus::Error),
            limit: MAX_REPLAYED,
            ..TaskQuery::default()
        };
        let rows = self.store.tasks(&caller.organization, &query).await?;
        let resume = |row: &TaskRow| Write::Resume { organization: caller.organization.clone(), task: row.id.clone() };
        let written = join_all(rows.iter().map(|row| self.write(resume(row)))).await;
        let mut replayed = Vec::with_capacity(rows.len());
        for (row, written) in rows.into_iter().zip(written) {
            // Another caller may have replayed it meanwhile.
            if matches!(written?, Written::Done { .. }) {
                replayed.push(row.id);
            }
        }
        Ok(replayed)
    }

    async fn go_on(&self, caller: &Caller, row: &TaskRow) -> Result<TaskInfo, Error> {
        let write = Write::Resume { organization: caller.organization.clone(), task: row.id.clone() };
        match self.write(write).await? {
            Written::Done { .. } => self.get(caller, &row.id).await,
            Written::Conflict { status } => Err(Problem::conflict(not_paused(&row.id, status, row.why)).into()),
            other => Err(odd(&row.id, &other).into()),
        }
    }
}

/// Checks if a task ended through no fault of its own.
fn is_dead_letter(row: &TaskRow) -> bool {
    row.status == TaskStatus::Error || (row.status == TaskStatus::Failed && row.why == Some(Why::Poison))
}

fn has_ended(task: &TaskId, status: TaskStatus) -> Problem {
    Problem::conflict(format!("The task {task} has ended: it is `{}`.", status.name()))
}

fn not_paused(task: &TaskId, status: TaskStatus, why: Option<Why>) -> String {
    match (status, why) {
        (TaskStatus::Paused, Some(Why::NeedsApproval | Why::NeedsDecision)) => format!(
            "The task {task} waits for an answer about a tool call: GET /v1/tasks/{task}/approvals shows it, and POST \
             /v1/tasks/{task}/approvals/CALL answers."
        ),
        _ => format!("The task {task} is not paused: it is `{}`.", status.name()),
    }
}

/// The refusal of an outcome that the state should not allow.
pub(crate) fn odd(task: &TaskId, written: &Written) -> Problem {
    match written {
        Written::Missing => Problem::not_found(format!("There is no task {task}. GET /v1/tasks lists them.")),
        Written::Conflict { status } => has_ended(task, *status),
        Written::Full => Problem::overloaded("The organization has as many unfinished tasks as it may have."),
        Written::Before { .. } | Written::Done { .. } | Written::Lost => {
            Problem::conflict(format!("The task {task} has changed meanwhile; look at it again."))
        }
    }
}
