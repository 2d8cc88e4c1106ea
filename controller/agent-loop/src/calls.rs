//! Making calls: their receipts say `sent` before they leave, results are written as they come, and a call that was cut off says that
//! nobody knows what it did.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_contract::work::{EventType, TaskStatus, Why};
use cofferdam_store::{ReceiptRow, ReceiptState, ToolResult};
use cofferdam_tasks::approval;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument;

use crate::limits;
use crate::plan::Act;
use crate::receipts::settle;
use crate::step::{Draft, End, Halt, Run};
use crate::types::{ToolAnswer, ToolDone};

/// The time that calls have to end when the task is asked to stop or to pause.
const CANCEL_GRACE: Duration = Duration::from_millis(700);
/// The words for an outcome that nobody knows.
const UNKNOWN: &str = "The outcome of this call is not known: it may have happened or not.";

impl Run {
    /// Does what the plan says about calls.
    pub(crate) async fn act(&mut self, acts: Vec<Act>) -> Result<(), Halt> {
        let mut draft = Draft::default();
        let (mut ready, mut later) = (Vec::new(), Vec::new());
        for act in acts {
            match act {
                Act::Tell(receipt) => self.tell(receipt, &mut draft).await?,
                Act::Refused(mut receipt) => {
                    let result = ToolResult { text: refused(&receipt), value: None, is_error: true };
                    settle(&mut receipt, result, &mut draft);
                    draft.receipts.push(receipt);
                }
                Act::Unknown(receipt) => self.unknown(receipt, "The process that made this call died.", &mut draft),
                Act::Repeat(receipt) => ready.push(receipt),
                Act::Make(receipt) => later.push(receipt),
            }
        }
        let most = limits::parallel(&self.ctx.agent.definition.limits);
        for mut receipt in later {
            let alone = self.is_sequential(&receipt.tool)
                || ready.iter().any(|other: &ReceiptRow| self.is_sequential(&other.tool));
            if !ready.is_empty() && (alone || ready.len() >= most) {
                continue;
            }
            receipt.state = ReceiptState::Sent;
            receipt.repeatable = self.toolbox.may_repeat(&self.ctx, &receipt.tool);
            draft.receipts.push(receipt.clone());
            ready.push(receipt);
        }
        if !draft.receipts.is_empty() {
            self.write(draft, cofferdam_store::Turn::Goes).await?;
        }
        self.check()?;
        self.make(ready).await
    }

    /// Makes calls whose receipts say `sent`.
    pub(crate) async fn make(&mut self, ready: Vec<ReceiptRow>) -> Result<(), Halt> {
        if ready.is_empty() {
            return Ok(());
        }
        let mut ctx = self.ctx.clone();
        let stop = ctx.cancel.child_token();
        ctx.cancel = stop.clone();
        let ctx = Arc::new(ctx);
        let mut open: BTreeMap<String, ReceiptRow> = BTreeMap::new();
        // Tasks of their own: one that holds a connection goes on while another's result is written.
        let mut flights = JoinSet::new();
        for receipt in ready {
            let (ctx, toolbox) = (Arc::clone(&ctx), Arc::clone(&self.toolbox));
            let (planned, offered) = (self.planned(&receipt), self.toolbox.find(&receipt.tool).is_some());
            open.insert(receipt.call.clone(), receipt.clone());
            let span = tracing::info_span!(
                "execute_tool",
                "gen_ai.operation.name" = "execute_tool",
                "gen_ai.tool.name" = receipt.tool,
                "gen_ai.tool.call.id" = receipt.call,
                task = %receipt.task,
            );
            let made = async move {
                let answer = match planned {
                    Some(_) if !offered => ToolDone::error("There is no tool of this name any more.").into(),
                    Some(planned) => toolbox.call(&ctx, &planned).await,
                    None => ToolDone::error(
                        "The stored arguments of this call are not those that were checked. It was not made.",
                    )
                    .into(),
                };
                (receipt.call, answer)
            };
            flights.spawn(made.instrument(span));
        }
        let mut grace: Option<Instant> = None;
        loop {
            let give_up = grace.unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400));
            tokio::select! {
                biased;
                flight = flights.join_next() => {
                    let Some(flight) = flight else { break };
                    // One that panicked stays open.
                    let Ok((call, answer)) = flight else { continue };
                    let Some(receipt) = open.remove(&call) else { continue };
                    self.answered(receipt, answer, grace.is_some()).await?;
                }
                () = stop.cancelled(), if grace.is_none() => grace = Some(Instant::now() + CANCEL_GRACE),
                () = tokio::time::sleep_until(self.ctx.deadline), if grace.is_none() => stop.cancel(),
                () = tokio::time::sleep_until(give_up), if grace.is_some() => break,
            }
        }
        drop(flights);
        if self.is_lost() {
            return Err(Halt::Lost);
        }
        if !open.is_empty() {
            let mut draft = Draft::default();
            for (_, receipt) in open {
                match grace {
                    Some(_) => self.cut_off(receipt, &mut draft),
                    None => self.unknown(receipt, "The call broke off through a failure of this server.", &mut draft),
                }
            }
            self.write(draft, cofferdam_store::Turn::Goes).await?;
        }
        self.check()
    }

    /// A call was cut off by a stop, a pause or the end of the time: it is made again later if it may be, else its result says so.
    fn cut_off(&mut self, mut receipt: ReceiptRow, draft: &mut Draft) {
        self.ctx.parts.metrics.unknown_outcomes.inc();
        if receipt.repeatable {
            receipt.state = ReceiptState::Approved;
        } else {
            let text = format!("This call was cut off when the task was asked to end or to pause. {UNKNOWN}");
            settle(&mut receipt, ToolResult { text, value: None, is_error: true }, draft);
        }
        draft.receipts.push(receipt);
    }

    /// A person is asked what became of a call.
    fn unknown(&mut self, mut receipt: ReceiptRow, why: &str, draft: &mut Draft) {
        self.ctx.parts.metrics.unknown_outcomes.inc();
        receipt.state = ReceiptState::Unknown;
        receipt.message = format!("{why} {UNKNOWN} Answer with `retry`, `skip`, or `result` and what it gave.");
        receipt.expires_at_ms = None;
        let asked = approval(&receipt, &self.ctx.task.thread, &self.ctx.task.agent);
        draft.tell(EventType::ApprovalRequested, serde_json::to_value(asked).unwrap_or_default());
        draft.receipts.push(receipt);
    }

    async fn answered(&mut self, mut receipt: ReceiptRow, answer: ToolAnswer, cancelled: bool) -> Result<(), Halt> {
        let mut draft = Draft::default();
        self.ctx.parts.metrics.tool_calls.inc();
        match answer {
            ToolAnswer::Done(done) => {
                let ToolDone { result, cost, state, events } = *done;
                if result.is_error {
                    self.ctx.parts.metrics.tool_errors.inc();
                }
                draft.used_tools.push(receipt.tool.clone());
                draft.used.cost = cost.nano_usd;
                draft.state = state;
                settle(&mut receipt, result, &mut draft);
                draft.events.extend(events);
                draft.receipts.push(receipt);
            }
            ToolAnswer::Unknown { .. } if cancelled => self.cut_off(receipt, &mut draft),
            ToolAnswer::Unknown { why } => self.unknown(receipt, &why, &mut draft),
            ToolAnswer::Child { agent, request } => return self.make_child(receipt, agent, *request).await,
            ToolAnswer::Login { connector, url } => {
                let data = json!({"type": "mcp_login", "connector": connector, "url": url, "call_id": receipt.call});
                draft.tell(EventType::AuthEvent, data);
                // It was not made: it is when the task goes on.
                receipt.state = ReceiptState::Approved;
                draft.receipts.push(receipt);
                let detail =
                    format!("Somebody has to log in to the connector `{connector}`, and then resume the task.");
                self.logins.push(detail);
            }
        }
        self.write(draft, cofferdam_store::Turn::Goes).await
    }

    /// Tells the model a result that came while nobody worked on the task: of a sub-agent, or a person's.
    async fn tell(&mut self, mut receipt: ReceiptRow, draft: &mut Draft) -> Result<(), Halt> {
        let mut result = receipt.result.clone().unwrap_or_default();
        if let Some(child) = &receipt.child {
            // Its use counts for this one, in the write that tells its result: once.
            if let Some(row) = self.ctx.parts.tasks.store().task(&self.ctx.task.organization, child).await? {
                let nothing = cofferdam_store::Used { steps: draft.used.steps, worked_ms: 0, ..draft.used };
                draft.used = limits::with(nothing, &row.used);
                // The model can go on there.
                result.text.push_str(&format!("\n\n(thread of the agent: {})", row.thread));
            }
        }
        if receipt.decided_by.is_empty() || receipt.child.is_some() {
            draft.used_tools.push(receipt.tool.clone());
        }
        settle(&mut receipt, result, draft);
        draft.receipts.push(receipt);
        Ok(())
    }

    /// Waits for somebody to log in, if a call asked for it.
    pub(crate) async fn wait_for_login(&mut self) -> Result<(), Halt> {
        let logins = std::mem::take(&mut self.logins);
        match logins.first() {
            Some(detail) => self.park(Draft::default(), TaskStatus::Paused, Why::NeedsLogin, detail).await,
            None => Ok(()),
        }
    }

    /// Ends the task because nobody answered about a call.
    pub(crate) async fn expired(&mut self, tool: &str) -> Result<(), Halt> {
        let detail =
            format!("Nobody approved the call of `{tool}` in time, and its rule says that the task ends then.");
        let end = End {
            status: TaskStatus::Stopped,
            why: Some(Why::DeadlinePassed),
            detail,
            result: None,
            output: None,
            problem: None,
        };
        self.end(Draft::default(), end).await
    }

    /// Adds an event of its own.
    pub(crate) async fn tell_now(&mut self, kind: EventType, data: Value) -> Result<(), Halt> {
        let mut draft = Draft::default();
        draft.tell(kind, data);
        self.write(draft, cofferdam_store::Turn::Goes).await
    }
}

fn refused(receipt: &ReceiptRow) -> String {
    let note = match receipt.note.as_str() {
        "" => String::new(),
        note => format!(" The person's note: {note}"),
    };
    match receipt.state {
        ReceiptState::Expired => "Nobody approved this call in time. It was not made.".to_owned(),
        _ => format!("A person declined this call. It was not made, and has to be left out.{note}"),
    }
}
