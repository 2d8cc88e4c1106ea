//! The weight of an operation, about: the bytes of its texts. Reads nothing else.

use cofferdam_store::{NewEvent, NewMessage, ReceiptRow, Turn, Write};
use serde_json::Value;

/// The weight of an operation beside its texts.
const BASE_BYTES: usize = 256;

/// The bytes of an operation, about.
pub(super) fn weight(write: &Write) -> usize {
    BASE_BYTES
        + match write {
            Write::Add(new) => {
                let input = &new.task.request.input;
                let schema = new.task.request.output_schema.as_ref().map_or(0, value);
                let files: usize = input.files.iter().map(String::len).sum();
                2 * input.text.len() + files + schema + message(&new.message) + events(&new.events)
            }
            Write::Step(step) => {
                let messages: usize = step.messages.iter().map(message).sum();
                let receipts: usize = step.receipts.iter().map(receipt).sum();
                let state: usize = step.state.values().map(value).sum();
                let turn = match &step.turn {
                    Turn::Ends { result, output, detail, .. } => {
                        result.as_ref().map_or(0, String::len) + output.as_ref().map_or(0, value) + detail.len()
                    }
                    Turn::Goes | Turn::Parks { .. } | Turn::Again { .. } => 0,
                };
                messages + events(&step.events) + receipts + state + turn
            }
            Write::Settle(settle) => {
                let arguments = settle.arguments.as_ref().map_or(0, |(text, _)| text.len());
                arguments + settle.result.as_ref().map_or(0, |result| result.text.len()) + events(&settle.events)
            }
            Write::Ask { .. } | Write::Resume { .. } => 0,
        }
}

fn events(events: &[NewEvent]) -> usize {
    events.iter().map(|event| 64 + value(&event.data)).sum()
}

fn message(message: &NewMessage) -> usize {
    let content = &message.content;
    let calls: usize = content.tool_calls.iter().map(|call| 64 + value(&call.arguments)).sum();
    64 + content.text.len() + content.thinking.len() + content.opaque.as_ref().map_or(0, value) + calls
}

fn receipt(receipt: &ReceiptRow) -> usize {
    256 + receipt.arguments.len()
        + receipt.result.as_ref().map_or(0, |result| result.text.len() + result.value.as_ref().map_or(0, value))
}

/// The bytes of JSON, about. Nested as deep as JSON that was parsed can be.
fn value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => 2 + text.len(),
        Value::Array(items) => items.iter().map(self::value).sum::<usize>() + 2,
        Value::Object(fields) => {
            fields.iter().map(|(name, field)| name.len() + 4 + self::value(field)).sum::<usize>() + 2
        }
    }
}
