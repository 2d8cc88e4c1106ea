//! One step: the model is asked, and its answer becomes messages, calls, or the end of the task.

use std::time::Duration;

use cofferdam_contract::work::{Content, EventType, Role, TaskStatus, Why};
use cofferdam_core::random_bits;
use cofferdam_store::{MessageRow, NewMessage, Turn, Used};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::chunks::Chunks;
use crate::limits;
use crate::model::{self, Answered, ModelError};
use crate::prompt::Prompt;
use crate::retry::{self, Retry};
use crate::said::Said;
use crate::step::{Draft, End, Halt, Run};
use crate::{ancestors, compaction, output};

/// The marks of notices, by which they are counted.
const GO_ON: &str = "go_on";
const REPAIR: &str = "repair";
const EMPTY: &str = "empty";
/// Answers without a word in a row, after which the task fails.
const MAX_EMPTY: usize = 3;
/// Repairs of an answer where the agent says nothing else.
const REPAIRS: u32 = 2;
/// Bytes of a token, about, as long as no provider has counted.
const BYTES_PER_TOKEN: usize = 4;
/// Compactions in a row that did not help.
const MAX_COMPACTIONS: u32 = 2;

impl Run {
    /// Asks the model, unless a limit is reached, and takes its answer.
    pub(crate) async fn ask_model(&mut self) -> Result<(), Halt> {
        if let Some(reached) = limits::own(&self.ctx.agent.definition.limits, &self.ctx.task) {
            return self.end(Draft::default(), End::failed(reached.why, reached.detail)).await;
        }
        if self.ctx.task.parent.is_some()
            && let Some(reached) = ancestors::reached(&self.ctx).await?
        {
            return self.end(Draft::default(), End::failed(reached.why, reached.detail)).await;
        }
        let mut body = self.body();
        let estimate = u64::try_from(body.len() / BYTES_PER_TOKEN).unwrap_or(u64::MAX);
        if self.compacted == 0 && compaction::wanted(&self.ctx, self.prompt_tokens, estimate) && self.compact().await? {
            return Ok(());
        }
        let tried = u32::try_from(self.ctx.task.retries).unwrap_or(u32::MAX);
        let mut held = 0;
        loop {
            let task = &self.ctx.task;
            let mut chunks = Chunks::new(&self.ctx.parts.tasks, &task.id, &task.thread, &self.lease);
            let asked = model::stream(&self.ctx, body.clone(), &mut chunks).await;
            let error = match asked {
                Ok(answered) => {
                    let events = chunks.finish().await;
                    self.prompt_tokens = answered.used.prompt_tokens;
                    self.compacted = 0;
                    self.ctx.parts.metrics.steps.inc();
                    return self.take(answered, Draft { events, ..Draft::default() }).await;
                }
                Err(error) => error,
            };
            chunks.discard().await;
            let mut draft = Draft::default();
            if chunks.begun {
                draft.tell(EventType::AnswerReset, Value::Null);
            }
            match error {
                ModelError::Cancelled if Instant::now() >= self.ctx.deadline && self.check().is_ok() => {
                    return self.out_of_time(draft).await;
                }
                ModelError::Cancelled => {
                    let halt = self.check().err().unwrap_or(Halt::Lost);
                    if chunks.begun && !matches!(halt, Halt::Lost) {
                        self.write(draft, Turn::Goes).await?;
                    }
                    return Err(halt);
                }
                ModelError::Context(why) => {
                    if chunks.begun {
                        self.write(draft, Turn::Goes).await?;
                    }
                    if self.compacted < MAX_COMPACTIONS && self.compact().await? {
                        return Ok(());
                    }
                    if !std::mem::replace(&mut self.shortened, true) {
                        body = self.body();
                        continue;
                    }
                    let detail =
                        format!("The thread does not fit into the model's window, and cannot be made shorter: {why}");
                    return self.end(Draft::default(), End::failed(Why::ContextFull, detail)).await;
                }
                // Not every server knows the field: the instructions say it too.
                ModelError::Final { why: Why::ModelFailed, .. } if self.is_formatted() => {
                    self.plain = true;
                    body = self.body();
                }
                ModelError::Final { why, detail } => return self.end(draft, End::failed(why, detail)).await,
                ModelError::Again { why, after } => {
                    held += 1;
                    self.ctx.parts.metrics.retries.inc();
                    self.try_again(draft, tried.saturating_add(held), held, why, after).await?;
                }
            }
        }
    }

    /// Waits until the model may be asked again: here, or in the store.
    async fn try_again(
        &mut self,
        draft: Draft,
        tried: u32,
        held: u32,
        why: String,
        after: Option<Duration>,
    ) -> Result<(), Halt> {
        let jitter = random_bits().map_or(0.5, |bits| (bits % 1_000) as f64 / 1_000.0);
        match retry::after(&self.ctx.parts.config, tried, held, after, jitter) {
            Retry::Wait(wait) => {
                if !draft.events.is_empty() {
                    self.write(draft, Turn::Goes).await?;
                }
                tokio::select! {
                    () = tokio::time::sleep(wait) => Ok(()),
                    () = self.ctx.cancel.cancelled() => self.check(),
                    () = self.draining.cancelled() => Err(Halt::Draining),
                }
            }
            Retry::Later(wait) => {
                let detail = format!(
                    "The model could not answer (try {tried}); it is asked again in {} s: {why}",
                    wait.as_secs().max(1)
                );
                self.again(draft, Some(wait), detail).await
            }
            Retry::GiveUp => {
                let detail = format!("The model could not answer in {tried} tries. The last one said: {why}");
                self.end(draft, End::dead(Why::ModelFailed, detail)).await
            }
        }
    }

    fn body(&self) -> Vec<u8> {
        let task = &self.ctx.task;
        let mut seen = self.history.seen(self.ctx.agent.definition.memory.history);
        let short: Vec<MessageRow>;
        if self.shortened {
            short = compaction::shortened(seen.into_iter().cloned().collect()).0;
            seen = short.iter().collect();
        }
        let form = self.schema().map(output::instructions);
        Prompt {
            agent: &self.ctx.agent,
            request: &task.request,
            task: &task.id,
            model: model::name(&self.ctx),
            messages: &seen,
            tools: self.toolbox.offered(),
            memories: &self.memories,
            notes: self.toolbox.notes(),
            form: form.as_deref(),
            schema: self.schema().filter(|_| self.is_formatted()),
        }
        .body()
    }

    /// The schema that the answer has to match.
    fn schema(&self) -> Option<&Value> {
        self.ctx.task.request.output_schema.as_ref().or(self.ctx.agent.definition.output_schema.as_ref())
    }

    /// Returns true if the provider is told the schema of the answer. Some take no calls together with it.
    fn is_formatted(&self) -> bool {
        self.schema().is_some() && !self.plain && self.toolbox.offered().is_empty()
    }

    /// Sums up the older messages. Returns false if there is nothing to sum up.
    async fn compact(&mut self) -> Result<bool, Halt> {
        self.compacted += 1;
        let most = self.ctx.agent.definition.memory.history;
        let seen: Vec<MessageRow> = self.history.seen(most).into_iter().cloned().collect();
        let compacted = match compaction::compact(&self.ctx, &seen).await {
            Ok(compacted) => compacted,
            Err(error) => {
                tracing::debug!(task = %self.id(), error = cofferdam_core::chain(&error), "a thread was not compacted");
                return Ok(false);
            }
        };
        // A summary of a task that is to end is none.
        self.check()?;
        self.ctx.parts.metrics.compactions.inc();
        self.prompt_tokens = 0;
        let draft = Draft {
            messages: vec![compacted.summary],
            // It is no step.
            used: Used { steps: 0, ..compacted.used },
            events: compacted.events,
            ..Draft::default()
        };
        self.write(draft, Turn::Goes).await?;
        Ok(true)
    }

    /// Takes an answer of the model.
    async fn take(&mut self, answered: Answered, mut draft: Draft) -> Result<(), Halt> {
        let Answered { said, model, used } = answered;
        draft.used = used;
        let step = self.ctx.task.used.steps + 1;
        let stop = said.stop.as_deref().unwrap_or_default().to_owned();
        if !said.refusal.is_empty() || stop == "content_filter" {
            let detail = match said.refusal.as_str() {
                "" => "The answer was filtered by the model's provider.".to_owned(),
                refusal => format!("The model refused: {}", refusal.chars().take(1_000).collect::<String>()),
            };
            draft.messages.push(message(&said, &model, Vec::new(), &[], None));
            return self.end(draft, End::failed(Why::ModelRefused, detail)).await;
        }
        if !said.calls.is_empty() {
            let mut calls = Draft::default();
            let (asked, ready) = self.plan_calls(&said, step, &mut calls);
            let ids: Vec<String> = asked.iter().map(|call| call.id.clone()).collect();
            draft.messages.push(message(&said, &model, asked, &ids, None));
            draft.messages.append(&mut calls.messages);
            draft.events.append(&mut calls.events);
            draft.receipts = calls.receipts;
            self.write(draft, Turn::Goes).await?;
            self.check_making(&ready).await?;
            return self.make(ready).await;
        }
        let is_cut = said.cut || stop == "length";
        if said.text.trim().is_empty() {
            return self.empty(&said, &model, draft, is_cut).await;
        }
        let begun = self.begun();
        let whole = format!("{begun}{}", said.text);
        if is_cut && begun.is_empty() {
            draft.messages.push(message(&said, &model, Vec::new(), &[], Some("length")));
            draft.notice("Your answer was cut off at its limit. Go on exactly where it ended; repeat nothing, and add no remark.", GO_ON);
            return self.write(draft, Turn::Goes).await;
        }
        draft.messages.push(message(&said, &model, Vec::new(), &[], is_cut.then_some("length")));
        self.finish(whole, is_cut, draft).await
    }

    /// Calls that are in the store as sent have left, or will have: nothing is asked between.
    async fn check_making(&mut self, ready: &[cofferdam_store::ReceiptRow]) -> Result<(), Halt> {
        let halt = match self.check() {
            Ok(()) => return Ok(()),
            Err(Halt::Lost) => return Err(Halt::Lost),
            Err(halt) => halt,
        };
        // They have not left.
        let receipts = ready
            .iter()
            .map(|receipt| cofferdam_store::ReceiptRow {
                state: cofferdam_store::ReceiptState::Approved,
                ..receipt.clone()
            })
            .collect();
        let draft = Draft { receipts, ..Draft::default() };
        if !draft.receipts.is_empty() {
            self.write(draft, Turn::Goes).await?;
        }
        Err(halt)
    }

    /// The text of the answer so far, if it was cut off and goes on.
    fn begun(&self) -> String {
        let own = self.history.own();
        let goes_on =
            |message: &&&MessageRow| message.role == Role::Notice && message.content.tool.as_deref() == Some(GO_ON);
        match (own.last(), own.iter().rev().nth(1)) {
            (Some(notice), Some(before)) if goes_on(&notice) && before.role == Role::Assistant => {
                before.content.text.clone()
            }
            _ => String::new(),
        }
    }

    async fn empty(&mut self, said: &Said, model: &str, mut draft: Draft, is_cut: bool) -> Result<(), Halt> {
        let own = self.history.own();
        let empty =
            |message: &&&MessageRow| message.role != Role::Notice || message.content.tool.as_deref() == Some(EMPTY);
        let before = own.iter().rev().take_while(empty).filter(|message| message.role == Role::Notice).count();
        draft.messages.push(message(said, model, Vec::new(), &[], is_cut.then_some("length")));
        if before + 1 >= MAX_EMPTY {
            let detail = match is_cut {
                true => {
                    "The model used up its limit of tokens without an answer. A higher `limits.max_output_tokens` may help."
                }
                false => "The model answered without a word, again and again.",
            };
            return self.end(draft, End::failed(Why::ModelFailed, detail)).await;
        }
        let text = match is_cut {
            true => "Your answer was cut off before its first word. Think less, and answer.",
            false => "Your answer was empty. Answer, or call a tool.",
        };
        draft.notice(text, EMPTY);
        self.write(draft, Turn::Goes).await
    }

    /// Ends the task with its answer, if that has the form that it has to have.
    async fn finish(&mut self, text: String, is_cut: bool, mut draft: Draft) -> Result<(), Halt> {
        let (mut output, mut result) = (None, text);
        if let Some(schema) = self.schema() {
            match output::read(schema, &result) {
                Ok(value) => {
                    result = value.to_string();
                    output = Some(value);
                }
                Err(notice) => return self.repair(result, &notice, draft).await,
            }
        }
        let detail = if is_cut { "The answer was cut off at the model's limit." } else { "" };
        let end = End {
            status: TaskStatus::Completed,
            why: None,
            detail: detail.to_owned(),
            result: Some(result),
            output,
            problem: None,
        };
        draft.used_tools.clear();
        self.end(draft, end).await
    }

    async fn repair(&mut self, text: String, why: &str, mut draft: Draft) -> Result<(), Halt> {
        let is_repair =
            |message: &&&MessageRow| message.role == Role::Notice && message.content.tool.as_deref() == Some(REPAIR);
        let made = self.history.own().iter().filter(is_repair).count();
        let most = self.ctx.agent.definition.output_repairs.unwrap_or(REPAIRS);
        if made >= most as usize {
            let detail = format!("The answer does not have the form of the output schema. The model was told: {why}");
            let end = End { result: Some(text), ..End::failed(Why::OutputInvalid, detail) };
            return self.end(draft, end).await;
        }
        draft.tell(EventType::AnswerReset, json!({"reason": "output_schema"}));
        draft.notice(why, REPAIR);
        self.write(draft, Turn::Goes).await
    }

    /// The answer is in the store and the task has not ended: a dead letter that was replayed.
    pub(crate) async fn finish_stored(&mut self) -> Result<(), Halt> {
        let text = self
            .history
            .own()
            .iter()
            .rev()
            .find(|message| message.role == Role::Assistant)
            .map(|message| message.content.text.clone());
        match text.filter(|text| !text.trim().is_empty()) {
            Some(text) => self.finish(text, false, Draft::default()).await,
            None => {
                let mut draft = Draft::default();
                draft.notice("Your answer was empty. Answer, or call a tool.", EMPTY);
                self.write(draft, Turn::Goes).await
            }
        }
    }
}

/// The message of an answer.
fn message(
    said: &Said,
    model: &str,
    calls: Vec<cofferdam_contract::work::AskedCall>,
    ids: &[String],
    cut: Option<&str>,
) -> NewMessage {
    let text = if said.text.is_empty() { said.refusal.clone() } else { said.text.clone() };
    NewMessage {
        role: Role::Assistant,
        content: Content {
            text,
            thinking: said.thinking.clone(),
            opaque: said.opaque(ids),
            tool_calls: calls,
            model: (!model.is_empty()).then(|| model.to_owned()),
            cut: cut.map(str::to_owned),
            ..Content::default()
        },
    }
}
