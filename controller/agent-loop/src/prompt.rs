//! A task's rows as a request of a chat completion. Instructions are the only system text; everything that others said is marked as
//! theirs. Pure: the same rows give the same bytes, so that providers' caches of prompts hit.

use cofferdam_agents::ActiveAgent;
use cofferdam_contract::TaskId;
use cofferdam_contract::work::{InvokeRequest, Role};
use cofferdam_store::MessageRow;
use serde_json::{Map, Value, json};

use crate::marks::{EXPLAINED, MEMORY, NOTICE, SUMMARY, TOOL_DATA, USER, harmless, wrap};
use crate::types::Offered;

/// The parts of a request.
pub(crate) struct Prompt<'a> {
    pub agent: &'a ActiveAgent,
    pub request: &'a InvokeRequest,
    pub task: &'a TaskId,
    pub model: &'a str,
    pub messages: &'a [&'a MessageRow],
    pub tools: &'a [Offered],
    pub memories: &'a [String],
    /// Notes about tools that are missing.
    pub notes: &'a [String],
    /// The form of the answer, if it has a schema.
    pub form: Option<&'a str>,
    /// The schema, where the provider is told it too.
    pub schema: Option<&'a Value>,
}

impl Prompt<'_> {
    /// The body of the request.
    pub(crate) fn body(&self) -> Vec<u8> {
        let definition = &self.agent.definition;
        let mut messages = vec![json!({"role": "system", "content": self.system()})];
        let mut at = 0;
        while let Some(message) = self.messages.get(at) {
            at += 1;
            match message.role {
                Role::Assistant => self.assistant(message, self.messages.get(at..).unwrap_or_default(), &mut messages),
                // Each stands behind the call that it belongs to.
                Role::Tool => {}
                Role::User => user(&mut messages, &with_files(message)),
                Role::Notice => user(&mut messages, &wrap(NOTICE, &message.content.text)),
                Role::Summary => user(&mut messages, &wrap(SUMMARY, &message.content.text)),
            }
        }
        let mut body = Map::new();
        body.insert("model".into(), self.model.into());
        body.insert("messages".into(), messages.into());
        body.insert("stream".into(), true.into());
        body.insert("stream_options".into(), json!({"include_usage": true}));
        if !self.tools.is_empty() {
            let tool = |tool: &Offered| {
                json!({"type": "function", "function": {
                    "name": tool.name, "description": tool.description, "parameters": tool.parameters}})
            };
            body.insert("tools".into(), self.tools.iter().map(tool).collect());
        }
        if let Some(most) = definition.limits.max_output_tokens {
            body.insert("max_completion_tokens".into(), most.into());
        }
        if let Some(temperature) = definition.temperature {
            body.insert("temperature".into(), temperature.into());
        }
        if let Some(effort) = definition.reasoning_effort {
            let effort: &'static str = effort.into();
            body.insert("reasoning_effort".into(), effort.into());
        }
        if let Some(schema) = self.schema {
            let format =
                json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": false}});
            body.insert("response_format".into(), format);
        }
        Value::Object(body).to_string().into_bytes()
    }

    /// The instructions. Nothing that a user, a tool or a model said is among them, but between marks.
    fn system(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        let instructions = self.request.instructions_override.as_deref().unwrap_or(&self.agent.definition.instructions);
        if !instructions.trim().is_empty() {
            parts.push(instructions.to_owned());
        }
        if let Some(context) = self.request.additional_context.as_deref().filter(|text| !text.trim().is_empty()) {
            parts.push(context.to_owned());
        }
        if let Some(expected) = self.request.expected_output.as_deref().filter(|text| !text.trim().is_empty()) {
            parts.push(format!("The expected output: {expected}"));
        }
        parts.extend(self.form.map(str::to_owned));
        if !self.notes.is_empty() {
            parts.push(wrap(NOTICE, &self.notes.join("\n")));
        }
        parts.push(EXPLAINED.to_owned());
        if let Some(user) = &self.request.input.user {
            let name = [user.first_name.as_deref(), user.last_name.as_deref()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" ");
            let said = [
                ("name", Some(name.as_str())),
                ("email", user.email.as_deref()),
                ("time zone", user.timezone.as_deref()),
            ];
            let lines: Vec<String> = said
                .into_iter()
                .filter_map(|(what, text)| Some(format!("{what}: {}", text.filter(|text| !text.is_empty())?)))
                .collect();
            if !lines.is_empty() {
                parts.push(wrap(USER, &lines.join("\n")));
            }
        }
        if !self.memories.is_empty() {
            let facts: Vec<String> =
                self.memories.iter().map(|fact| format!("- {}", fact.replace('\n', " "))).collect();
            parts.push(wrap(MEMORY, &facts.join("\n")));
        }
        parts.join("\n\n")
    }

    /// An answer of the model, and behind it the results of its calls in the order in which it asked.
    fn assistant(&self, message: &MessageRow, after: &[&MessageRow], messages: &mut Vec<Value>) {
        let content = &message.content;
        if content.text.is_empty() && content.tool_calls.is_empty() {
            return;
        }
        let mut said = Map::new();
        said.insert("role".into(), "assistant".into());
        let text = if content.text.is_empty() { Value::Null } else { content.text.clone().into() };
        said.insert("content".into(), text);
        let opaque = content.opaque.as_ref().filter(|_| message.task == *self.task);
        if let Some(blocks) = opaque.and_then(|opaque| opaque.get("thinking_blocks")) {
            said.insert("thinking_blocks".into(), blocks.clone());
        }
        let extra = |call: &str| opaque?.get("extra_content")?.get(call).cloned();
        let calls = content.tool_calls.iter().enumerate().map(|(place, call)| {
            let arguments = match &call.arguments {
                Value::Object(_) => call.arguments.to_string(),
                Value::String(text) => json!({"unreadable": text}).to_string(),
                other => json!({"unreadable": other}).to_string(),
            };
            let mut asked = json!({"id": wire_id(message.seq, place), "type": "function",
                "function": {"name": wire_name(&call.name), "arguments": arguments}});
            if let (Some(extra), Some(asked)) = (extra(&call.id), asked.as_object_mut()) {
                asked.insert("extra_content".into(), extra);
            }
            asked
        });
        let calls: Vec<Value> = calls.collect();
        if !calls.is_empty() {
            said.insert("tool_calls".into(), calls.into());
        }
        messages.push(Value::Object(said));
        for (place, call) in content.tool_calls.iter().enumerate() {
            let of_call = |other: &&&MessageRow| {
                other.role == Role::Tool && other.task == message.task && other.content.call.as_ref() == Some(&call.id)
            };
            let text = match after.iter().find(of_call) {
                Some(result) => wrap(TOOL_DATA, &result.content.text),
                None => wrap(NOTICE, "No result of this call is known."),
            };
            messages.push(json!({"role": "tool", "tool_call_id": wire_id(message.seq, place), "content": text}));
        }
    }
}

/// Adds something that a user says. Some models take no two messages of a user in a row.
fn user(messages: &mut Vec<Value>, text: &str) {
    let last = messages.last_mut().filter(|last| last.get("role") == Some(&"user".into()));
    match last.and_then(|last| last.get_mut("content")) {
        Some(Value::String(said)) => {
            said.push_str("\n\n");
            said.push_str(text);
        }
        _ => messages.push(json!({"role": "user", "content": text})),
    }
}

fn with_files(message: &MessageRow) -> String {
    let mut text = harmless(&message.content.text);
    if !message.content.files.is_empty() {
        text.push_str("\n\nFiles:");
        for file in &message.content.files {
            text.push_str("\n- ");
            text.push_str(&harmless(file));
        }
    }
    text
}

/// A call's id as providers see it: unique in the thread, 9 letters and digits, which all of them take.
fn wire_id(seq: u64, place: usize) -> String {
    let digit = |number: u64| char::from_digit(u32::try_from(number % 36).unwrap_or(0), 36).unwrap_or('0');
    let place = u64::try_from(place).unwrap_or(0);
    let seq: String = (0..7).rev().map(|power| digit(seq / 36_u64.pow(power))).collect();
    format!("{seq}{}{}", digit(place / 36), digit(place))
}

/// A tool's name as providers take it, whatever the model has written.
pub(crate) fn wire_name(name: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    let name: String = name.chars().take(64).map(fits).collect();
    if name.is_empty() { "unknown".to_owned() } else { name }
}

#[cfg(test)]
mod tests;
