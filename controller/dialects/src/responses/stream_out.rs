//! Writes the events of a response's stream. Keeps the answer, within a bound, because the last event repeats all of it.

use crate::answer::{Stop, Usage, id_for};
use crate::custom;
use crate::error::Kind;
use crate::json::{self, Object};
use crate::messages::write::input;
use crate::request::{Request, Seal};
use crate::responses::echo::{Echo, State, error_event};
use crate::responses::items;
use crate::sse;
use crate::stream::{Block, Delta, Fault, MAX_KEPT_BYTES, TOO_MUCH};

#[derive(Debug)]
pub(crate) struct Writer {
    echo: Echo,
    /// Names of custom tools. Their arguments are given on when they are whole.
    custom: Vec<String>,
    created: u64,
    id: String,
    model: String,
    sequence: u64,
    open: Vec<Item>,
    /// Finished items as JSON, in the order of their places.
    done: Vec<Vec<u8>>,
    kept: usize,
    stop: Option<Stop>,
}

#[derive(Debug)]
struct Item {
    block: u32,
    index: u64,
    id: String,
    kind: Kinds,
    text: String,
}

#[derive(Debug)]
enum Kinds {
    Text,
    Refusal,
    Thinking(Seal),
    Call { id: String, name: String },
    Custom { id: String, name: String },
}

impl Writer {
    /// Bytes that are kept for events to come.
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    pub(crate) fn new(request: &Request, created: u64) -> Self {
        Self {
            echo: Echo::new(request),
            custom: request.custom.iter().map(|custom| custom.name.clone()).collect(),
            created,
            id: String::new(),
            model: String::new(),
            sequence: 0,
            open: Vec::new(),
            done: Vec::new(),
            kept: 0,
            stop: None,
        }
    }

    pub(crate) fn start(&mut self, id: &str, model: &str, out: &mut Vec<u8>) {
        self.id = id_for("resp_", id);
        model.clone_into(&mut self.model);
        self.response("response.created", "in_progress", None, None, None, out);
        self.response("response.in_progress", "in_progress", None, None, None, out);
    }

    fn response(
        &mut self,
        name: &str,
        status: &str,
        incomplete: Option<&str>,
        error: Option<(Kind, &str)>,
        usage: Option<Usage>,
        out: &mut Vec<u8>,
    ) {
        let output = self.done.join(&b',');
        let state = State {
            id: &self.id,
            model: &self.model,
            created: self.created,
            status,
            incomplete,
            error,
            output: std::str::from_utf8(&output).unwrap_or_default(),
            usage,
        };
        event(&mut self.sequence, out, name, |o| o.object("response", |o| self.echo.write(o, &state)));
    }

    pub(crate) fn delta(&mut self, delta: Delta<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        match delta {
            Delta::Open { block, kind } => self.open(block, kind, out),
            Delta::Piece { block, text } => self.piece(block, text, out),
            Delta::Seal { block, seal } => {
                if let Some(item) = self.open.iter_mut().find(|item| item.block == block) {
                    item.kind = Kinds::Thinking(seal);
                }
                Ok(())
            }
            Delta::Close { block } => {
                if let Some(at) = self.open.iter().position(|item| item.block == block) {
                    let item = self.open.remove(at);
                    self.close(item, "completed", out);
                }
                Ok(())
            }
            Delta::Stop { stop, .. } => {
                self.stop = Some(stop);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, block: u32, kind: Block<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let index = self.done.len() as u64;
        self.done.push(Vec::new());
        let tail = self.id.strip_prefix("resp_").unwrap_or_default();
        let (prefix, kind) = match kind {
            Block::Text => ("msg", Kinds::Text),
            Block::Refusal => ("msg", Kinds::Refusal),
            Block::Thinking => ("rs", Kinds::Thinking(Seal::Open)),
            Block::Redacted(data) => ("rs", Kinds::Thinking(Seal::of_redacted(data))),
            Block::Call { id, name } if self.custom.iter().any(|custom| custom == name) => {
                ("ctc", Kinds::Custom { id: id.to_owned(), name: name.to_owned() })
            }
            Block::Call { id, name } => ("fc", Kinds::Call { id: id.to_owned(), name: name.to_owned() }),
        };
        let item = Item { block, index, id: format!("{prefix}_{tail}_{index}"), kind, text: String::new() };
        event(&mut self.sequence, out, "response.output_item.added", |o| {
            o.number("output_index", index);
            o.object("item", |o| match &item.kind {
                Kinds::Text | Kinds::Refusal => items::message(o, &item.id, "in_progress", |_| {}),
                Kinds::Thinking(_) => items::reasoning(o, &item.id, "", &Seal::Open),
                Kinds::Call { id, name } => items::function_call(o, &item.id, "in_progress", id, name, ""),
                Kinds::Custom { id, name } => items::custom_call(o, &item.id, "in_progress", id, name, ""),
            });
        });
        if matches!(item.kind, Kinds::Text | Kinds::Refusal) {
            self.part("response.content_part.added", &item, out);
        }
        self.open.push(item);
        Ok(())
    }

    fn part(&mut self, name: &str, item: &Item, out: &mut Vec<u8>) {
        event(&mut self.sequence, out, name, |o| {
            place(o, item);
            o.number("content_index", 0);
            o.object("part", |o| match item.kind {
                Kinds::Refusal => items::refusal(o, &item.text),
                _ => items::output_text(o, &item.text),
            });
        });
    }

    fn summary_part(&mut self, name: &str, item: &Item, text: &str, out: &mut Vec<u8>) {
        event(&mut self.sequence, out, name, |o| {
            place(o, item);
            o.number("summary_index", 0);
            o.object("part", |o| items::summary(o, text));
        });
    }

    fn piece(&mut self, block: u32, text: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.kept += text.len();
        if self.kept > MAX_KEPT_BYTES {
            return Err(TOO_MUCH);
        }
        let Some(at) = self.open.iter().position(|item| item.block == block) else { return Ok(()) };
        let mut item = self.open.swap_remove(at);
        if matches!(item.kind, Kinds::Thinking(_)) && item.text.is_empty() {
            self.summary_part("response.reasoning_summary_part.added", &item, "", out);
        }
        item.text.push_str(text);
        let name = match item.kind {
            Kinds::Custom { .. } => {
                self.open.push(item);
                return Ok(());
            }
            Kinds::Text => "response.output_text.delta",
            Kinds::Refusal => "response.refusal.delta",
            Kinds::Thinking(_) => "response.reasoning_summary_text.delta",
            Kinds::Call { .. } => "response.function_call_arguments.delta",
        };
        event(&mut self.sequence, out, name, |o| {
            place(o, &item);
            content_place(o, &item);
            o.string("delta", text);
            if matches!(item.kind, Kinds::Text) {
                o.literal("logprobs", "[]");
            }
        });
        self.open.push(item);
        Ok(())
    }

    fn close(&mut self, mut item: Item, status: &str, out: &mut Vec<u8>) {
        if matches!(item.kind, Kinds::Call { .. }) && item.text.is_empty() {
            item.text.push_str("{}");
        }
        // Arguments that the limit has cut: clients do what a call says that is completed.
        let object = match item.kind {
            Kinds::Call { .. } => true,
            // Models give custom tools a plain text now and then.
            Kinds::Custom { .. } => item.text.trim_ascii_start().starts_with('{'),
            _ => false,
        };
        let status = if object && input(&item.text).is_none() { "incomplete" } else { status };
        if matches!(item.kind, Kinds::Custom { .. }) {
            item.text = custom::input(&item.text).into_owned();
            event(&mut self.sequence, out, "response.custom_tool_call_input.delta", |o| {
                place(o, &item);
                o.string("delta", &item.text);
            });
        }
        let (name, key) = match item.kind {
            Kinds::Custom { .. } => ("response.custom_tool_call_input.done", "input"),
            Kinds::Text => ("response.output_text.done", "text"),
            Kinds::Refusal => ("response.refusal.done", "refusal"),
            Kinds::Thinking(_) => ("response.reasoning_summary_text.done", "text"),
            Kinds::Call { .. } => ("response.function_call_arguments.done", "arguments"),
        };
        // A thought without words has no part.
        let worded = !matches!(item.kind, Kinds::Thinking(_)) || !item.text.is_empty();
        if worded {
            event(&mut self.sequence, out, name, |o| {
                place(o, &item);
                content_place(o, &item);
                if let Kinds::Call { name, .. } = &item.kind {
                    o.string("name", name);
                }
                o.string(key, &item.text);
                if matches!(item.kind, Kinds::Text) {
                    o.literal("logprobs", "[]");
                }
            });
            match item.kind {
                Kinds::Text | Kinds::Refusal => self.part("response.content_part.done", &item, out),
                Kinds::Thinking(_) => {
                    self.summary_part("response.reasoning_summary_part.done", &item, &item.text, out);
                }
                Kinds::Call { .. } | Kinds::Custom { .. } => {}
            }
        }
        let mut json = Vec::with_capacity(item.text.len() + 256);
        json::object(&mut json, |o| match &item.kind {
            Kinds::Text => items::message(o, &item.id, status, |list| {
                list.object(|o| items::output_text(o, &item.text));
            }),
            Kinds::Refusal => items::message(o, &item.id, status, |list| {
                list.object(|o| items::refusal(o, &item.text));
            }),
            Kinds::Thinking(seal) => items::reasoning(o, &item.id, &item.text, seal),
            Kinds::Call { id, name } => items::function_call(o, &item.id, status, id, name, &item.text),
            Kinds::Custom { id, name } => items::custom_call(o, &item.id, status, id, name, &item.text),
        });
        event(&mut self.sequence, out, "response.output_item.done", |o| {
            o.number("output_index", item.index);
            o.literal("item", std::str::from_utf8(&json).unwrap_or("{}"));
        });
        if let Some(place) = usize::try_from(item.index).ok().and_then(|index| self.done.get_mut(index)) {
            *place = json;
        }
    }

    pub(crate) fn end(&mut self, usage: Option<Usage>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let incomplete = self.stop.and_then(Stop::incomplete);
        let status = if incomplete.is_some() { "incomplete" } else { "completed" };
        for item in std::mem::take(&mut self.open) {
            self.close(item, status, out);
        }
        let name = if incomplete.is_some() { "response.incomplete" } else { "response.completed" };
        self.response(name, status, incomplete, None, Some(usage.unwrap_or_default()), out);
        Ok(())
    }

    /// Writes both events that clients look for: `error`, and `response.failed` if the response had begun.
    pub(crate) fn fail(&mut self, kind: Kind, message: &str, started: bool, usage: Option<Usage>, out: &mut Vec<u8>) {
        sse::begin(out, "error");
        error_event(out, kind, message, self.sequence);
        sse::end(out);
        self.sequence += 1;
        if started {
            self.done.retain(|item| !item.is_empty());
            self.response("response.failed", "failed", None, Some((kind, message)), usage, out);
        }
    }
}

fn event(sequence: &mut u64, out: &mut Vec<u8>, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
    sse::begin(out, name);
    json::object(out, |o| {
        o.string("type", name);
        o.number("sequence_number", *sequence);
        fill(o);
    });
    sse::end(out);
    *sequence += 1;
}

fn place(o: &mut Object<'_>, item: &Item) {
    o.string("item_id", &item.id);
    o.number("output_index", item.index);
}

fn content_place(o: &mut Object<'_>, item: &Item) {
    match item.kind {
        Kinds::Text | Kinds::Refusal => o.number("content_index", 0),
        Kinds::Thinking(_) => o.number("summary_index", 0),
        Kinds::Call { .. } | Kinds::Custom { .. } => {}
    }
}
