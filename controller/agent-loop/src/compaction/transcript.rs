//! A conversation as text, for the model that sums it up: who said what, within a bound.

use cofferdam_contract::work::Role;
use cofferdam_store::MessageRow;

use crate::marks::{TOOL_DATA, harmless, wrap};

/// Characters of one message that are tried, until all fit.
const TRIED_CHARS: [usize; 8] = [20_000, 8_000, 4_000, 2_000, 1_000, 400, 150, 60];

/// The conversation in at most so many bytes. Long messages lose their middle first; if there are too many of them, the oldest go.
pub(super) fn text(messages: &[MessageRow], most: usize) -> String {
    for chars in TRIED_CHARS {
        let lines: Vec<String> = messages.iter().map(|message| line(message, chars)).collect();
        let bytes: usize = lines.iter().map(|line| line.len() + 2).sum();
        if bytes <= most {
            return lines.join("\n\n");
        }
    }
    let mut lines: Vec<String> = Vec::new();
    let mut bytes = 0;
    for message in messages.iter().rev() {
        let line = line(message, 60);
        bytes += line.len() + 2;
        if bytes > most {
            break;
        }
        lines.push(line);
    }
    lines.reverse();
    lines.join("\n\n")
}

fn line(message: &MessageRow, chars: usize) -> String {
    let content = &message.content;
    let short = |text: &str| crate::tools::within(text.to_owned(), chars);
    match message.role {
        Role::User => format!("USER: {}", harmless(&short(&content.text))),
        Role::Assistant => {
            let mut said = format!("ASSISTANT: {}", harmless(&short(&content.text)));
            for call in &content.tool_calls {
                said.push_str(&format!(
                    "\n[calls {} with {}]",
                    call.name,
                    harmless(&short(&call.arguments.to_string()))
                ));
            }
            said
        }
        Role::Tool => {
            let name = content.tool.as_deref().unwrap_or("a tool");
            let failed = if content.is_error { " (failed)" } else { "" };
            format!("RESULT of {name}{failed}:\n{}", wrap(TOOL_DATA, &short(&content.text)))
        }
        Role::Summary => format!("SUMMARY of what was before: {}", harmless(&short(&content.text))),
        Role::Notice => format!("PROGRAM: {}", harmless(&short(&content.text))),
    }
}
