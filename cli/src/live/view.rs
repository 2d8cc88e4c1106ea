//! A task as a person sees it: the answer on standard output, everything else on standard error, where it is a terminal.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr, stdout};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Form;
use super::event::Event;
use super::spinner::Spinner;
use crate::terminal::{Output, complain, json_line, note, plain, settle};

const DIM: &str = "\u{1b}[2m";
const RESET: &str = "\u{1b}[0m";
/// The longest piece of arguments or of a result in a line, in characters.
const MAX_PIECE: usize = 100;
/// Calls whose beginning is kept.
const MAX_CALLS: usize = 256;

struct Call {
    label: String,
    begun: Instant,
    depth: usize,
}

pub(super) struct View {
    form: Form,
    answer: Output,
    thoughts: Output,
    /// The answer is shown while it comes; elsewhere only when it is final.
    streams: bool,
    thinks: bool,
    thinking: bool,
    /// Something of the answer is on the terminal that counts.
    answered: bool,
    calls: BTreeMap<(String, String), Call>,
    spinner: Spinner,
}

/// The first line of a text, shortened.
fn piece(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let short: String = line.chars().take(MAX_PIECE).collect();
    let more = short.len() < line.len() || text.trim_end().lines().count() > 1;
    format!("{}{}", plain(&short), if more { " ..." } else { "" })
}

fn length(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..1_000 => format!("{millis} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

impl View {
    pub(super) fn new(form: Form) -> Self {
        Self {
            form,
            answer: Output::stdout(),
            thoughts: Output::stderr(),
            streams: stdout().is_terminal(),
            thinks: stderr().is_terminal(),
            thinking: false,
            answered: false,
            calls: BTreeMap::new(),
            spinner: Spinner::default(),
        }
    }

    /// Shows an event.
    ///
    /// # Errors
    /// Standard output takes no more.
    pub(super) fn show(&mut self, event: &Event, depth: usize) -> anyhow::Result<()> {
        if self.form == Form::Json {
            return Ok(());
        }
        match (event.kind.as_str(), depth) {
            ("chunk", 0) => self.chunk(event.data.as_str().unwrap_or_default()),
            ("think", 0) => self.think(event.word("/text")),
            ("answer_reset", 0) => {
                if std::mem::take(&mut self.answered) && self.streams {
                    self.line(0, "(the answer so far is withdrawn, and begins again)");
                }
                Ok(())
            }
            ("tool_call_request", _) => {
                self.begin(event, depth);
                Ok(())
            }
            ("approval_settled", _) => {
                self.settled(event);
                Ok(())
            }
            ("tool_call_result", _) => {
                self.result(event, depth);
                Ok(())
            }
            ("sub_agent_trigger", _) => {
                self.line(depth, &format!("-> agent {} ({})", event.word("/agent_id"), event.word("/task_id")));
                Ok(())
            }
            ("plan_updated", _) => {
                self.plan(&event.data, depth);
                Ok(())
            }
            ("auth_event", _) => {
                let (connector, url) = (event.word("/connector"), event.word("/url"));
                self.line(depth, &format!("log in to {connector} with a browser: {url}"));
                Ok(())
            }
            ("task_compactization", _) => {
                self.line(depth, "(older messages were summarized for the model)");
                Ok(())
            }
            ("task_updated", 0) => {
                self.state(&event.data);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn chunk(&mut self, text: &str) -> anyhow::Result<()> {
        if !self.streams || text.is_empty() {
            return Ok(());
        }
        self.spinner.hide();
        self.stop_thinking();
        self.answered = true;
        self.answer.write(text)
    }

    fn think(&mut self, text: &str) -> anyhow::Result<()> {
        if !self.thinks || text.is_empty() {
            return Ok(());
        }
        self.spinner.hide();
        if !std::mem::replace(&mut self.thinking, true) {
            settle();
        }
        self.thoughts.write(&format!("{DIM}{text}"))
    }

    fn stop_thinking(&mut self) {
        if std::mem::take(&mut self.thinking) {
            // A terminal that is gone needs no last words.
            let _ = self.thoughts.write(RESET).and_then(|()| self.thoughts.end());
            settle();
        }
    }

    fn begin(&mut self, event: &Event, depth: usize) {
        let arguments = event.data.get("payload").map(|value| json_line(&value.to_string())).unwrap_or_default();
        let label = format!("{}({})", event.word("/tool_name"), piece(arguments.trim_matches(['{', '}'])));
        if self.calls.len() < MAX_CALLS {
            let call = (event.task_id.clone(), event.word("/call_id").to_owned());
            self.calls.insert(call, Call { label, begun: Instant::now(), depth });
        }
        self.stop_thinking();
        self.spin();
    }

    /// A person has answered: the call begins now, perhaps with other arguments.
    fn settled(&mut self, event: &Event) {
        let call = self.calls.get_mut(&(event.task_id.clone(), event.word("/call_id").to_owned()));
        let Some(call) = call else { return };
        call.begun = Instant::now();
        if event.word("/verdict") == "edit" {
            call.label = format!("{}(edited)", event.word("/tool"));
        }
    }

    /// Shows the calls that are under way.
    fn spin(&mut self) {
        let labels: Vec<&str> = self.calls.values().map(|call| call.label.as_str()).collect();
        if labels.is_empty() {
            self.spinner.hide();
        } else {
            settle();
            self.spinner.show(&labels.join(", "));
        }
    }

    fn result(&mut self, event: &Event, depth: usize) {
        let call = self.calls.remove(&(event.task_id.clone(), event.word("/call_id").to_owned()));
        let failed = event.data.get("is_error").and_then(Value::as_bool).unwrap_or(false);
        let (label, time, depth) = match call {
            Some(call) => (call.label, format!(", {}", length(call.begun.elapsed())), call.depth),
            None => (event.word("/tool_name").to_owned(), String::new(), depth),
        };
        let (mark, result) = (if failed { "failed" } else { "done" }, piece(event.word("/result")));
        let result = if result.is_empty() { result } else { format!(": {result}") };
        self.line(depth, &format!("* {label} {mark}{time}{result}"));
        self.spin();
    }

    fn plan(&mut self, plan: &Value, depth: usize) {
        let steps = plan.get("steps").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for step in steps {
            let text = |name: &str| step.get(name).and_then(Value::as_str).unwrap_or_default();
            let mark = match text("state") {
                "completed" => "x",
                "in_progress" => ">",
                _ => " ",
            };
            self.line(depth, &format!("[{mark}] {}", piece(text("title"))));
        }
    }

    fn state(&mut self, task: &Value) {
        let text = |name: &str| task.get(name).and_then(Value::as_str).unwrap_or_default();
        let why = match text("internal_status") {
            "waits_for_retry" => "it is tried again",
            "waits_for_thread" => "it waits for another task of its thread",
            _ => return,
        };
        let detail = text("detail");
        self.line(0, &if detail.is_empty() { format!("({why})") } else { format!("({why}: {detail})") });
    }

    /// A line beside the answer.
    fn line(&mut self, depth: usize, text: &str) {
        self.rest();
        if self.thinks {
            note!("{}{text}", "  ".repeat(depth));
        }
    }

    /// Leaves the terminal free for a line.
    pub(super) fn rest(&mut self) {
        self.spinner.hide();
        self.stop_thinking();
        settle();
    }

    /// Nothing more is shown.
    pub(super) fn end(&mut self) {
        self.rest();
        let _ = self.answer.end();
        settle();
    }

    /// Shows a task's end.
    ///
    /// # Errors
    /// Standard output takes no more.
    pub(super) fn finish(&mut self, task: &Value) -> anyhow::Result<()> {
        self.end();
        if self.form == Form::Json {
            return Ok(());
        }
        let result = task.get("result").and_then(Value::as_str).unwrap_or_default();
        if !self.answered && !result.is_empty() {
            std::mem::replace(&mut self.answer, Output::stdout()).whole(result)?;
        }
        summary(task);
        Ok(())
    }
}

/// The last lines: what went wrong, and thread, steps, tokens, money, time.
pub(crate) fn summary(task: &Value) {
    let text = |name: &str| task.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("status") != "completed" {
        complain(&failure(task));
    }
    note!("{}", totals(task));
}

/// A task's state as a sentence.
fn failure(task: &Value) -> String {
    let text = |pointer: &str| task.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let why = [text("/detail"), text("/problem/detail"), text("/internal_status")];
    let why = why.into_iter().find(|why| !why.is_empty()).unwrap_or("no cause is given");
    format!("the task ended as {}: {why}", text("/status"))
}

fn totals(task: &Value) -> String {
    let text = |name: &str| task.get(name).and_then(Value::as_str).unwrap_or_default();
    let count = |pointer: &str| task.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let steps = count("/steps");
    let cost = match text("cost_usd") {
        "" => "0",
        cost => cost,
    };
    let time = task.get("duration").and_then(Value::as_f64).unwrap_or_default().clamp(0.0, 1e9);
    format!(
        "thread {}: {steps} {}, {} tokens in, {} out, ${cost}, {time:.1} s",
        text("thread_id"),
        if steps == 1 { "step" } else { "steps" },
        count("/tokens/prompt_tokens"),
        count("/tokens/completion_tokens"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_task_is_summed_up() {
        let task = json!({"status": "failed", "thread_id": "thread_1", "steps": 1, "cost_usd": "0.0012", "duration": 4.25,
            "internal_status": "step_limit", "tokens": {"prompt_tokens": 10, "completion_tokens": 3}});
        assert_eq!(totals(&task), "thread thread_1: 1 step, 10 tokens in, 3 out, $0.0012, 4.2 s");
        assert_eq!(failure(&task), "the task ended as failed: step_limit");
        assert_eq!(totals(&json!({})), "thread : 0 steps, 0 tokens in, 0 out, $0, 0.0 s");
    }

    #[test]
    fn a_piece_is_one_safe_line() {
        assert_eq!(piece("\n\n  a\u{1b}[2Jb  \nc"), "a\\u{1b}[2Jb ...");
        assert_eq!(piece("one"), "one");
        assert_eq!(piece(&"x".repeat(500)).chars().count(), MAX_PIECE + 4);
        assert_eq!(piece(""), "");
    }
}
