//! Tasks as text.

use serde_json::Value;

use crate::live::shown_call;
use crate::terminal::{Page, put};

/// The longest input in a list, in characters.
const MAX_INPUT: usize = 60;

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn count(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

/// The state, with its cause: `paused (needs_approval)`.
pub(super) fn state(task: &Value) -> String {
    match text(task, "/internal_status") {
        "" => text(task, "/status").to_owned(),
        why => format!("{} ({why})", text(task, "/status")),
    }
}

/// A point in time, to the second: `2026-11-30 12:03:04`.
pub(crate) fn second(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

/// The first line of a text, shortened.
pub(crate) fn short(text: &str, most: usize) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let cut: String = line.chars().take(most).collect();
    if cut.len() < line.len() { format!("{cut}...") } else { cut }
}

pub(super) fn row(task: &Value) -> Vec<String> {
    vec![
        text(task, "/id").to_owned(),
        text(task, "/agent_id").to_owned(),
        state(task),
        second(text(task, "/created_at")),
        count(task, "/steps").to_string(),
        format!("${}", text(task, "/cost_usd")),
        short(text(task, "/input/text"), MAX_INPUT),
    ]
}

/// A call that waits for a person.
pub(super) fn waiting(asked: &Value) -> Vec<String> {
    vec![
        text(asked, "/task_id").to_owned(),
        text(asked, "/call_id").to_owned(),
        text(asked, "/agent_id").to_owned(),
        second(text(asked, "/requested_at")),
        shown_call(asked),
    ]
}

pub(super) fn page(task: &Value) -> Page {
    let mut out = Page::default();
    put!(out, "{}  {}", text(task, "/id"), state(task));
    put!(
        out,
        "  agent {} version {}, thread {}",
        text(task, "/agent_id"),
        text(task, "/agent_version"),
        text(task, "/thread_id")
    );
    let times = [("created", "/created_at"), ("started", "/started_at"), ("ended", "/finished_at")];
    let times = times.into_iter().filter(|(_, at)| !text(task, at).is_empty());
    let times: Vec<String> = times.map(|(name, at)| format!("{name} {}", second(text(task, at)))).collect();
    put!(out, "  {}", times.join(", "));
    let number = |pointer: &str, one: &str| match count(task, pointer) {
        1 => format!("1 {one}"),
        many => format!("{many} {one}s"),
    };
    put!(
        out,
        "  {}, {} tokens in, {} out, ${}, {}",
        number("/steps", "step"),
        count(task, "/tokens/prompt_tokens"),
        count(task, "/tokens/completion_tokens"),
        text(task, "/cost_usd"),
        number("/execution_attempts", "attempt")
    );
    for why in [text(task, "/detail"), text(task, "/problem/detail")] {
        if !why.is_empty() {
            put!(out, "  {why}");
        }
    }
    for (name, pointer) in [("made by", "/parent_execution"), ("title", "/title")] {
        if !text(task, pointer).is_empty() {
            put!(out, "  {name} {}", text(task, pointer));
        }
    }
    let lines = |out: &mut Page, head: &str, whole: &str| {
        if !whole.is_empty() {
            put!(out);
            put!(out, "{head}");
            whole.lines().for_each(|line| put!(out, "  {line}"));
        }
    };
    lines(&mut out, "input", text(task, "/input/text"));
    let asked = task.get("waits_for").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for asked in asked {
        put!(out);
        put!(out, "waits for a person: call {}: {}", text(asked, "/call_id"), shown_call(asked));
        let message = text(asked, "/message");
        if !message.is_empty() {
            put!(out, "  {message}");
        }
    }
    lines(&mut out, "result", text(task, "/result"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_task_is_told_with_what_it_waits_for() {
        let task = json!({"id": "task_1", "agent_id": "a", "agent_version": "2", "thread_id": "thread_1", "status": "paused",
            "internal_status": "needs_approval", "created_at": "2026-11-30T12:03:04.000Z", "steps": 2, "cost_usd": "0.01",
            "input": {"text": "Delete it\u{1b}[2J\nnow"}, "tokens": {"prompt_tokens": 5, "completion_tokens": 1},
            "waits_for": [{"call_id": "1-1", "tool": "rm", "arguments": {"path": "/a"}, "message": "Really?"}]});
        assert_eq!(
            row(&task),
            ["task_1", "a", "paused (needs_approval)", "2026-11-30 12:03:04", "2", "$0.01", "Delete it\u{1b}[2J"]
        );
        let shown = page(&task);
        let shown = shown.as_str();
        for part in [
            "task_1  paused (needs_approval)\n",
            "agent a version 2, thread thread_1\n",
            "created 2026-11-30 12:03:04\n",
            "  Delete it\\u{1b}[2J\n  now\n",
            "waits for a person: call 1-1: rm {\"path\":\"/a\"}\n  Really?\n",
        ] {
            assert!(shown.contains(part), "{part:?} in {shown}");
        }
    }
}
