//! Calls that the model asked for, as receipts: which of them may be made, which wait for a person, and which the loop answers itself
//! because they cannot be made.

use std::collections::HashSet;

use cofferdam_contract::work::{AskedCall, Content, EventType, OnTimeout, Role};
use cofferdam_core::{millis, now_ms};
use cofferdam_store::{ReceiptRow, ReceiptState, ToolResult};
use cofferdam_tasks::{approval, canonical, digest};
use serde_json::{Value, json};

use crate::limits;
use crate::plan::{BY_LOOP, MAX_SAME_CALLS, same_in_a_row};
use crate::said::{MAX_CALLS, Said, SaidCall};
use crate::schema::Schema;
use crate::step::{Draft, Run};
use crate::types::{PlannedCall, Ruling};

/// Characters of a name that are repeated.
const MAX_SHOWN_NAME: usize = 64;
/// Bytes of a result as the model sees it, and as the store keeps it.
const MAX_TOLD_BYTES: usize = 64 << 10;
const MAX_KEPT_BYTES: usize = 1 << 20;

/// Our id of a call.
pub(crate) fn call_id(step: u64, place: usize) -> String {
    format!("call_{step}_{place}")
}

impl Run {
    /// Writes the calls of an answer into the draft: the message's calls, receipts, events, and the answers to those that cannot be
    /// made. Returns the receipts of calls that leave as soon as the draft is written.
    pub(crate) fn plan_calls(
        &mut self,
        said: &Said,
        step: u64,
        draft: &mut Draft,
    ) -> (Vec<AskedCall>, Vec<ReceiptRow>) {
        let (mut asked, mut ready) = (Vec::new(), Vec::new());
        let mut known = self.receipts.clone();
        let mut seen: HashSet<String> = HashSet::new();
        for (place, call) in said.calls.iter().enumerate() {
            let id = call_id(step, place);
            let arguments = read(call);
            let name: String = call.name.chars().take(MAX_SHOWN_NAME).collect();
            let shown =
                arguments.clone().unwrap_or_else(|_| Value::String(call.arguments.chars().take(4_096).collect()));
            asked.push(AskedCall { id: id.clone(), name: name.clone(), arguments: shown.clone() });
            let planned = PlannedCall {
                id,
                step,
                place: place as u64,
                tool: name.clone(),
                digest: digest(&name, &shown),
                arguments: shown,
            };
            let mut receipt = self.receipt(&planned);
            let repeated = same_in_a_row(&known, &name, &planned.digest) + 1;
            let problem = match arguments {
                Err(why) => Some(why),
                Ok(_) if !seen.insert(planned.digest.clone()) => Some(
                    "This is the same call as another one of this step, which is made once. Use its result.".to_owned(),
                ),
                Ok(_) if repeated >= MAX_SAME_CALLS => Some(format!(
                    "This call was not made: it is the same call with the same arguments, {repeated} times in a row. Do something else, \
                     or answer with what you know."
                )),
                Ok(arguments) => self.fits(&name, &arguments),
            };
            let hints = self.toolbox.find(&name).map(|tool| tool.hints).unwrap_or_default();
            receipt.repeatable = self.toolbox.may_repeat(&self.ctx, &name);
            match problem.map_or_else(
                || self.toolbox.ruling(&self.ctx, &name, &planned.arguments),
                |message| Ruling::Deny { message },
            ) {
                Ruling::Deny { message } => {
                    receipt.decided_by = BY_LOOP.to_owned();
                    self.ctx.parts.metrics.bad_calls.inc();
                    requested(&receipt, draft);
                    let result = ToolResult { text: message, value: None, is_error: true };
                    settle(&mut receipt, result, draft);
                }
                Ruling::Ask { message, timeout, on_timeout } => {
                    receipt.state = ReceiptState::AwaitingApproval;
                    receipt.message = message;
                    receipt.expires_at_ms = Some(now_ms().saturating_add(millis(timeout)));
                    receipt.on_timeout = if on_timeout == OnTimeout::Stop { "stop" } else { "decline" }.to_owned();
                    requested(&receipt, draft);
                    let asked = approval(&receipt, &self.ctx.task.thread, &self.ctx.task.agent);
                    draft.tell(EventType::ApprovalRequested, serde_json::to_value(asked).unwrap_or_default());
                }
                Ruling::Allow => {
                    let most = limits::parallel(&self.ctx.agent.definition.limits);
                    // One that is made alone waits for those before it, and those after it wait for it.
                    let alone =
                        hints.sequential || ready.iter().any(|other: &ReceiptRow| self.is_sequential(&other.tool));
                    let leaves = ready.is_empty() || (!alone && ready.len() < most);
                    receipt.state = if leaves { ReceiptState::Sent } else { ReceiptState::Approved };
                    requested(&receipt, draft);
                    if leaves {
                        ready.push(receipt.clone());
                    }
                }
            }
            known.push(receipt.clone());
            draft.receipts.push(receipt);
        }
        if said.more_calls > 0 {
            draft.notice(
                format!("Only {MAX_CALLS} calls of a step are made; {} more were left out.", said.more_calls),
                "",
            );
        }
        (asked, ready)
    }

    pub(crate) fn is_sequential(&self, tool: &str) -> bool {
        self.toolbox.find(tool).is_some_and(|tool| tool.hints.sequential)
    }

    /// The reason for which a call with these arguments cannot be made.
    pub(crate) fn fits(&self, name: &str, arguments: &Value) -> Option<String> {
        let Some(tool) = self.toolbox.find(name) else {
            let names: Vec<&str> = self.toolbox.offered().iter().take(64).map(|tool| tool.name.as_str()).collect();
            return Some(match names.is_empty() {
                true => "There are no tools in this task. Answer without one.".to_owned(),
                false => format!("There is no tool of this name. There are: {}.", names.join(", ")),
            });
        };
        // A schema that cannot be checked here is checked by the tool itself.
        let faults = Schema::new(&tool.parameters).ok()?.check(arguments);
        let faults: Vec<String> = faults.iter().take(5).map(ToString::to_string).collect();
        (!faults.is_empty()).then(|| format!("The arguments do not fit the tool's schema: {}", faults.join("; ")))
    }

    fn receipt(&self, call: &PlannedCall) -> ReceiptRow {
        let now = now_ms();
        ReceiptRow {
            task: self.ctx.task.id.clone(),
            call: call.id.clone(),
            step: call.step,
            place: call.place,
            tool: call.tool.clone(),
            arguments: canonical(&call.arguments),
            digest: call.digest.clone(),
            state: ReceiptState::Sent,
            repeatable: false,
            result: None,
            child: None,
            message: String::new(),
            on_timeout: String::new(),
            expires_at_ms: None,
            decided_by: String::new(),
            note: String::new(),
            created_at_ms: now,
            updated_at_ms: now,
        }
    }

    /// The call of a receipt, exactly as it was approved; `None` if the row does not hold what its digest says.
    pub(crate) fn planned(&self, receipt: &ReceiptRow) -> Option<PlannedCall> {
        let arguments: Value = serde_json::from_str(&receipt.arguments).ok()?;
        (arguments.is_object() && digest(&receipt.tool, &arguments) == receipt.digest).then(|| PlannedCall {
            id: receipt.call.clone(),
            step: receipt.step,
            place: receipt.place,
            tool: receipt.tool.clone(),
            digest: receipt.digest.clone(),
            arguments,
        })
    }
}

/// Reads a call's arguments: an object, or the sentence that says what they are.
fn read(call: &SaidCall) -> Result<Value, String> {
    if call.too_long {
        return Err("The name or the arguments of this call are too long.".to_owned());
    }
    let text = call.arguments.trim();
    if text.is_empty() {
        return Ok(json!({}));
    }
    match serde_json::from_str::<Value>(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        // Some models write the object as a text once more.
        Ok(Value::String(inner)) => match serde_json::from_str::<Value>(&inner) {
            Ok(value @ Value::Object(_)) => Ok(value),
            _ => Err("The arguments are a text, and have to be a JSON object.".to_owned()),
        },
        Ok(_) => Err("The arguments are no JSON object.".to_owned()),
        Err(error) => Err(format!("The arguments are not valid JSON: {error}. Send the whole call again.")),
    }
}

/// The event that a call was asked for.
fn requested(receipt: &ReceiptRow, draft: &mut Draft) {
    let arguments: Value = serde_json::from_str(&receipt.arguments).unwrap_or_default();
    let data = json!({
        "request_id": receipt.call,
        "call_id": receipt.call,
        "operation_id": receipt.tool,
        "tool_name": receipt.tool,
        "payload": arguments,
        "step": receipt.step,
    });
    draft.tell(EventType::ToolCallRequest, data);
}

/// A call has its result: the receipt, the message for the model and the event.
pub(crate) fn settle(receipt: &mut ReceiptRow, mut result: ToolResult, draft: &mut Draft) {
    let told = cut(&result.text, MAX_TOLD_BYTES);
    result.text = cut(&result.text, MAX_KEPT_BYTES);
    if result.value.as_ref().is_some_and(|value| value.to_string().len() > MAX_KEPT_BYTES) {
        result.value = None;
    }
    draft.say(
        Role::Tool,
        Content {
            text: told.clone(),
            call: Some(receipt.call.clone()),
            tool: Some(receipt.tool.clone()),
            is_error: result.is_error,
            ..Content::default()
        },
    );
    let data = json!({
        "request_id": receipt.call,
        "call_id": receipt.call,
        "operation_id": receipt.tool,
        "tool_name": receipt.tool,
        "is_success": !result.is_error,
        "is_error": result.is_error,
        "result": told,
        "step": receipt.step,
    });
    draft.tell(EventType::ToolCallResult, data);
    receipt.state = ReceiptState::Done;
    receipt.result = Some(result);
}

/// A text within its bound, with a note where something is missing, and without what PostgreSQL does not store.
fn cut(text: &str, most: usize) -> String {
    let text = match text.contains('\0') {
        true => std::borrow::Cow::Owned(text.replace('\0', "")),
        false => std::borrow::Cow::Borrowed(text),
    };
    if text.len() <= most {
        return text.into_owned();
    }
    let note = format!("\n[... cut: {} bytes in all; the first part is shown]", text.len());
    let mut end = most.saturating_sub(note.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{note}", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> Result<Value, String> {
        read(&SaidCall { arguments: text.to_owned(), ..SaidCall::default() })
    }

    #[test]
    fn arguments_are_an_object_or_told_back() {
        assert_eq!(arguments(""), Ok(json!({})));
        assert_eq!(arguments(r#" {"a": 1} "#), Ok(json!({"a": 1})));
        assert_eq!(arguments(r#""{\"a\": 1}""#), Ok(json!({"a": 1})));
        for bad in ["{\"a\": ", "[1]", "5", "null", "\"x\"", "{}{}", "{\"a\": 1} trailing", &"[".repeat(100_000)] {
            assert!(arguments(bad).is_err(), "{}", &bad[..bad.len().min(20)]);
        }
    }

    #[test]
    fn long_results_are_cut_with_a_note() {
        let text = "ä".repeat(100_000);
        let told = cut(&text, MAX_TOLD_BYTES);
        assert!(told.len() <= MAX_TOLD_BYTES && told.contains("200000 bytes in all"));
        assert_eq!(cut("short", 100), "short");
    }
}
