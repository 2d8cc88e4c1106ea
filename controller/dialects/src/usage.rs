//! Looks at an answer that is passed on byte for byte: usage, model, reason to stop, errors. Tolerant in everything, because
//! what it cannot read the caller gets all the same.

use memchr::memmem;

use crate::answer::{Answer, Stop, Usage};
use crate::dialect::Dialect;
use crate::error::{Failure, Kind};
use crate::fields::Fields;
use crate::sse::{Event, Reader};
use crate::{chat, messages, responses};

/// Longest event that is looked at. A longer one is passed on unseen, and so is the rest of that stream.
pub const MAX_SEEN_EVENT_BYTES: usize = 4 << 20;

/// Facts about an answer that passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Tokens used.
    pub usage: Option<Usage>,
    /// The model that answered.
    pub model: Option<String>,
    /// Reason to stop.
    pub stop: Option<Stop>,
    /// The error that the upstream reports inside the answer.
    pub failure: Option<Failure>,
    /// The stream came to its regular end, or the body was whole.
    pub complete: bool,
}

impl Seen {
    /// Looks at a whole body: an answer, or what else has usage, such as embeddings.
    pub fn of(dialect: Dialect, body: &[u8]) -> Self {
        let Some(mut fields) = Fields::tolerant(body) else { return Self::default() };
        if fields.look("error").is_some() {
            return Self { failure: Some(Failure::of_fields(fields, Kind::Api)), ..Self::default() };
        }
        let usage = fields.child("usage").map(|fields| match dialect {
            Dialect::Chat => chat::answer::usage(fields),
            Dialect::Responses => responses::answer::usage(fields),
            Dialect::Messages => messages::answer::usage(fields),
        });
        let model = fields.text("model").filter(|model| !model.is_empty()).map(Into::into);
        let stop = Answer::read(dialect, body).ok().map(|answer| answer.stop);
        Self { usage, model, stop, failure: None, complete: true }
    }
}

/// Looks at a stream while it passes.
#[derive(Debug)]
pub struct Tap {
    dialect: Dialect,
    reader: Reader,
    seen: Seen,
    blind: bool,
    /// Something of an answer has come: the first event that shows the caller a word, a thought or a call.
    began: bool,
}

impl Tap {
    /// A tap on a stream of this dialect.
    pub fn new(dialect: Dialect) -> Self {
        let reader = Reader::new(MAX_SEEN_EVENT_BYTES);
        Self { dialect, reader, seen: Seen::default(), blind: false, began: false }
    }

    /// Looks at a piece of the stream, wherever it was cut.
    pub fn push(&mut self, piece: &[u8]) {
        if self.blind {
            return;
        }
        let (dialect, seen, began) = (self.dialect, &mut self.seen, &mut self.began);
        if self.reader.push(piece, |event| look(dialect, event, seen, began)).is_err() {
            self.blind = true;
        }
    }

    /// Tells what is known so far.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The model has begun to answer.
    pub fn has_begun(&self) -> bool {
        self.began
    }
}

fn look(dialect: Dialect, event: Event<'_>, seen: &mut Seen, began: &mut bool) {
    if event.is_done() {
        seen.complete = true;
        return;
    }
    match dialect {
        Dialect::Chat => chunk(event, seen, began),
        Dialect::Messages => message(event, seen, began),
        Dialect::Responses => response(event, seen, began),
    }
}

fn has(event: Event<'_>, word: &str) -> bool {
    memmem::find(event.data.as_bytes(), word.as_bytes()).is_some()
}

fn chunk(event: Event<'_>, seen: &mut Seen, began: &mut bool) {
    // Most chunks hold a word or two, and are not read.
    let plain = seen.model.is_some() && *began && !has(event, "\"usage\"") && !has(event, "\"error\"");
    if plain && !has(event, "finish_reason\":\"") && !has(event, "finish_reason\": \"") {
        return;
    }
    let Some(mut fields) = Fields::tolerant(event.data.as_bytes()) else { return };
    if fields.look("error").is_some() {
        seen.failure = Some(Failure::of_fields(fields, Kind::Api));
        return;
    }
    if seen.model.is_none() {
        seen.model = fields.text("model").filter(|model| !model.is_empty()).map(Into::into);
    }
    if let Some(fields) = fields.child("usage") {
        seen.usage.get_or_insert_default().merge(chat::answer::usage(fields));
    }
    for mut choice in fields.items("choices").into_iter().filter_map(Fields::of) {
        if let Some(word) = choice.text("finish_reason") {
            seen.stop = Some(Stop::of_chat(&word));
        }
        if let Some(mut delta) = choice.child("delta") {
            let words = ["content", "reasoning_content", "reasoning", "refusal"];
            let lists = ["content", "tool_calls"];
            *began |= words.iter().any(|key| delta.text(key).is_some_and(|text| !text.is_empty()))
                || lists.iter().any(|key| !delta.items(key).is_empty());
        }
    }
}

fn message(event: Event<'_>, seen: &mut Seen, began: &mut bool) {
    match event.name {
        "content_block_start" | "content_block_delta" => {
            *began = true;
            return;
        }
        "content_block_stop" | "ping" => return,
        _ => {}
    }
    let Some(mut fields) = Fields::tolerant(event.data.as_bytes()) else { return };
    let kind = fields.text("type").unwrap_or(event.name.into());
    match kind.as_ref() {
        "message_start" => {
            let Some(mut message) = fields.child("message") else { return };
            seen.model = message.text("model").map(Into::into);
            if let Some(fields) = message.child("usage") {
                seen.usage.get_or_insert_default().merge(messages::answer::usage(fields));
            }
        }
        "content_block_delta" => *began = true,
        "message_delta" => {
            if let Some(fields) = fields.child("usage") {
                seen.usage.get_or_insert_default().merge(messages::answer::usage(fields));
            }
            let word = fields.child("delta").and_then(|mut delta| delta.text("stop_reason"));
            seen.stop = word.map(|word| Stop::of_messages(&word)).or(seen.stop);
        }
        "message_stop" => seen.complete = true,
        "error" => seen.failure = Some(Failure::of_fields(fields, Kind::Api)),
        _ => {}
    }
}

fn response(event: Event<'_>, seen: &mut Seen, began: &mut bool) {
    let head = event.data.get(..event.data.len().min(256)).unwrap_or(event.data);
    let named = |word: &str| event.name == word || (event.name.is_empty() && head.contains(word));
    if event.name.ends_with(".delta") {
        *began = true;
        return;
    }
    let ends = ["response.completed", "response.incomplete", "response.failed", "error", "response.created"];
    if !ends.iter().any(|word| named(word)) {
        *began |= head.contains(".delta");
        return;
    }
    let Some(mut fields) = Fields::tolerant(event.data.as_bytes()) else { return };
    let kind = fields.text("type").unwrap_or(event.name.into());
    if kind == "error" {
        seen.failure = Some(Failure::of_fields(fields, Kind::Api));
        return;
    }
    let Some(mut body) = fields.child("response") else { return };
    if let Some(model) = body.text("model") {
        seen.model = Some(model.into_owned());
    }
    if let Some(fields) = body.child("usage") {
        seen.usage.get_or_insert_default().merge(responses::answer::usage(fields));
    }
    match kind.as_ref() {
        "response.failed" => seen.failure = Some(Failure::of_fields(body, Kind::Api)),
        "response.completed" | "response.incomplete" => {
            let is_call = |raw: &&serde_json::value::RawValue| {
                Fields::of(raw).and_then(|mut item| item.text("type")).as_deref() == Some("function_call")
            };
            let calls = body.items("output").iter().any(is_call);
            seen.stop = Some(responses::answer::stop(&mut body, calls));
            seen.complete = true;
        }
        _ => {}
    }
}
