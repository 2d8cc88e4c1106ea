//! One task under one lease: plan, act, plan again, until it ends, waits, or is another's. All that it knows is in rows; what is in
//! memory only saves reading them again.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::work::{EventType, TaskStatus, Why};
use cofferdam_core::{Caller, Scopes, now_ms};
use cofferdam_store::{HandedOut, WorkEventRow};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::history::History;
use crate::parts::Parts;
use crate::plan::{self, Next};
use crate::step::{Draft, End, Halt, Heard, Run};
use crate::tools::{Toolbox, recalled};
use crate::types::RunContext;
use crate::{Error, limits};

/// Steps of one lease after which the task goes back into the queue, so that others of its organization have their turn.
const MAX_STEPS_HELD: u32 = 200;

/// Events at the end of a thread that are looked at after a hand-out before this one.
const LAST_EVENTS: u32 = 16;

/// The tokens that end a run.
pub(crate) struct Ends {
    /// Asked for, or lost.
    pub cancel: CancellationToken,
    pub heard: Heard,
    pub draining: CancellationToken,
}

/// Works on a task that was handed out.
pub(crate) async fn run(parts: &Arc<Parts>, handed: HandedOut, ends: Ends) -> Halt {
    let waited = handed.waited_ms;
    let mut run = match open(parts, handed, ends).await {
        Ok(Ok(run)) => run,
        Ok(Err(halt)) => return halt,
        Err(error) => return Halt::Broken(error),
    };
    parts.metrics.handed_out(waited);
    let halt = match run.go().await {
        Ok(()) => Halt::Over,
        Err(halt) => halt,
    };
    let halt = match halt {
        // The store itself does what was asked.
        Halt::Asked(asked) => {
            tracing::debug!(task = %run.id(), ?asked, "a task stops working");
            run.again(Draft::default(), None, String::new()).await.err().unwrap_or(Halt::Over)
        }
        Halt::Draining => run.again(Draft::default(), None, String::new()).await.err().unwrap_or(Halt::Over),
        other => other,
    };
    if matches!(halt, Halt::Over) {
        Toolbox::rest(&run.ctx);
    }
    halt
}

/// Reads what is needed to go on.
async fn open(parts: &Arc<Parts>, handed: HandedOut, ends: Ends) -> Result<Result<Run, Halt>, Error> {
    let HandedOut { task, lease, .. } = handed;
    let store = parts.tasks.store();
    let agent = parts.agents.version(&task.organization, &task.agent, &task.agent_version).await?;
    let Some(thread) = store.thread(&task.organization, &task.thread).await? else { return Ok(Err(Halt::Lost)) };
    let Some(agent) = agent else {
        gone(parts, &task, &lease).await;
        return Ok(Err(Halt::Over));
    };
    let history = History::read(store, &task).await?;
    // The first time there are none.
    let receipts = match task.attempt > 1 || task.used.steps > 0 {
        true => store.receipts(&task.id).await?,
        false => Vec::new(),
    };
    let caller = Caller::new(task.api_key.clone(), task.organization.clone(), Scopes::from_text(&task.scopes));
    let limits = &agent.definition.limits;
    let left = limits::wall(limits).saturating_sub(Duration::from_millis(task.used.worked_ms));
    let until = task.deadline_ms.map(|at| Duration::from_millis(at.saturating_sub(now_ms()).max(0).unsigned_abs()));
    let deadline = Instant::now() + until.map_or(left, |until| until.min(left));
    let ctx = RunContext { task, agent, thread, caller, cancel: ends.cancel, deadline, parts: Arc::clone(parts) };
    let toolbox = Arc::new(Toolbox::open(&ctx).await?);
    let memories = recalled(&ctx).await?;
    Ok(Ok(Run {
        ctx,
        lease,
        history,
        receipts,
        toolbox,
        memories,
        counted: Instant::now(),
        asked: None,
        heard: ends.heard,
        draining: ends.draining,
        logins: Vec::new(),
        prompt_tokens: 0,
        plain: false,
        shortened: false,
        compacted: 0,
    }))
}

/// Ends a task whose agent is not there any more.
async fn gone(parts: &Parts, task: &cofferdam_store::TaskRow, lease: &cofferdam_store::Lease) {
    let end = End::failed(
        Why::AgentGone,
        format!("The version {} of the agent {} was deleted.", task.agent_version, task.agent),
    );
    parts.metrics.ended(end.status, end.why);
    let step = cofferdam_store::Step {
        task: task.id.clone(),
        thread: task.thread.clone(),
        lease: lease.clone(),
        messages: Vec::new(),
        events: vec![cofferdam_store::NewEvent { kind: EventType::TaskFinished, data: serde_json::Value::Null }],
        receipts: Vec::new(),
        used: cofferdam_store::Used::default(),
        used_tools: Vec::new(),
        state: std::collections::BTreeMap::new(),
        turn: cofferdam_store::Turn::Ends {
            status: end.status,
            why: end.why,
            detail: end.detail,
            result: None,
            output: None,
            problem: end.problem,
        },
    };
    if let Err(error) = parts.tasks.write(cofferdam_store::Write::Step(Box::new(step))).await {
        tracing::warn!(error = cofferdam_core::chain(&error), "the end of a task could not be written");
    }
}

impl Run {
    /// Goes on until something ends it.
    async fn go(&mut self) -> Result<(), Halt> {
        self.begin().await?;
        for _ in 0..MAX_STEPS_HELD {
            self.check()?;
            if self.draining.is_cancelled() {
                return Err(Halt::Draining);
            }
            self.wait_for_login().await?;
            match plan::next(&self.history.own(), &self.receipts) {
                Next::Model => self.ask_model().await?,
                Next::Calls(acts) => self.act(acts).await?,
                Next::WaitForPerson { unknown: true } => {
                    let detail =
                        "The outcome of a tool call is not known; somebody has to say whether it is made again.";
                    self.park(Draft::default(), TaskStatus::Paused, Why::NeedsDecision, detail).await?;
                }
                Next::WaitForPerson { unknown: false } => {
                    let detail = "A tool call needs approval.";
                    self.park(Draft::default(), TaskStatus::Paused, Why::NeedsApproval, detail).await?;
                }
                Next::WaitForSubAgent => {
                    self.park(Draft::default(), TaskStatus::Executing, Why::WaitsForSubAgent, "").await?;
                }
                Next::Expired { tool } => self.expired(&tool).await?,
                Next::Circles(detail) => self.end(Draft::default(), End::failed(Why::StepLimit, detail)).await?,
                Next::Finish => self.finish_stored().await?,
            }
        }
        self.again(Draft::default(), None, String::new()).await
    }

    /// Says that the task is under way. After a hand-out that ended in the middle of an answer, withdraws what was shown of it.
    async fn begin(&mut self) -> Result<(), Halt> {
        if self.ctx.task.attempt > 1 {
            let store = self.ctx.parts.tasks.store();
            let after = self.ctx.thread.last_event.saturating_sub(u64::from(LAST_EVENTS));
            let last = store.events(&self.ctx.task.thread, after, LAST_EVENTS).await?;
            let own = |event: &&WorkEventRow| event.task == self.ctx.task.id && event.kind != EventType::TaskUpdated;
            let shown = |kind: EventType| matches!(kind, EventType::Chunk | EventType::Think);
            if last.iter().rev().find(own).is_some_and(|event| shown(event.kind)) {
                return self.tell_now(EventType::AnswerReset, serde_json::Value::Null).await;
            }
        }
        Ok(())
    }

    /// The time of work, or the deadline, is over.
    pub(crate) async fn out_of_time(&mut self, draft: Draft) -> Result<(), Halt> {
        if self.ctx.task.deadline_ms.is_some_and(|at| at <= now_ms()) {
            let end = End {
                status: TaskStatus::Stopped,
                why: Some(Why::DeadlinePassed),
                detail: "Its deadline passed.".to_owned(),
                result: None,
                output: None,
                problem: None,
            };
            return self.end(draft, end).await;
        }
        let reached = limits::time(&self.ctx.agent.definition.limits);
        self.end(draft, End::failed(reached.why, reached.detail)).await
    }
}
