//! Looks at an answer that is passed on byte for byte: usage, model, reason to stop, errors. Tolerant in everything, because
//! what it cannot read the caller gets all the same.

use memchr::memmem;

use crate::answer::{Answer, Stop, Unreadable, Usage};
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
        let answer = match Answer::read(dialect, body) {
            Err(Unreadable::Failed(failure)) => return Self { failure: Some(failure), ..Self::default() },
            answer => answer.ok(),
        };
        let told = fields.child("usage").and_then(|fields| match dialect {
            Dialect::Chat => chat::answer::usage(fields),
            Dialect::Responses => responses::answer::usage(fields),
            Dialect::Messages => messages::answer::usage(fields),
        });
        let usage = told.or_else(|| answer.as_ref().and_then(|answer| answer.usage));
        let model = fields.text("model").filter(|model| !model.is_empty()).map(Into::into);
        Self { usage, model, stop: answer.map(|answer| answer.stop), failure: None, complete: true }
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
    Usage::add(&mut seen.usage, fields.child("usage").and_then(chat::answer::usage));
    for mut choice in fields.items("choices").into_iter().filter_map(Fields::of) {
        // Moonshot's servers count beside the last words.
        Usage::add(&mut seen.usage, choice.child("usage").and_then(chat::answer::usage));
        if let Some(word) = choice.text("finish_reason").filter(|word| !word.is_empty()) {
            if let Some(failure) = chat::answer::failed(&word, &choice) {
                seen.failure = Some(failure);
                return;
            }
            seen.stop = Some(Stop::of_chat(&word));
        }
        for mut delta in ["delta", "message"].iter().filter_map(|key| choice.child(key)) {
            let words = ["content", "reasoning_content", "reasoning", "refusal"];
            let lists = ["content", "tool_calls"];
            *began |= words.iter().any(|key| delta.chars(key).is_some_and(|text| !text.is_empty()))
                || lists.iter().any(|key| !delta.items(key).is_empty())
                || delta.look("function_call").is_some();
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
            Usage::add(&mut seen.usage, message.child("usage").and_then(messages::answer::usage));
        }
        "content_block_delta" => *began = true,
        "message_delta" => {
            Usage::add(&mut seen.usage, fields.child("usage").and_then(messages::answer::usage));
            let word = fields.child("delta").and_then(|mut delta| delta.text("stop_reason"));
            seen.stop = word.filter(|word| !word.is_empty()).map(|word| Stop::of_messages(&word)).or(seen.stop);
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
    let ends =
        ["response.completed", "response.incomplete", "response.done", "response.failed", "error", "response.created"];
    if !ends.iter().any(|word| named(word)) {
        // Some servers send whole items only.
        *began |= event.name.ends_with(".done") || [".delta\"", ".done\""].iter().any(|word| head.contains(word));
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
    Usage::add(&mut seen.usage, body.child("usage").and_then(responses::answer::usage));
    match kind.as_ref() {
        "response.failed" => seen.failure = Some(Failure::of_fields(body, Kind::Api)),
        "response.completed" | "response.incomplete" | "response.done" => {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tapped(wire: &[&str]) -> Seen {
        let mut tap = Tap::new(Dialect::Chat);
        wire.iter().for_each(|data| tap.push(format!("data: {data}\n\n").as_bytes()));
        tap.seen().clone()
    }

    #[test]
    fn usage_that_counts_nothing_is_absent() {
        for usage in [
            r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#,
            r#"{"prompt_tokens":"12","completion_tokens":"x"}"#,
            r#""12""#,
            "{}",
        ] {
            let choice = r#""choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}]"#;
            let whole = format!(r#"{{"model":"m",{choice},"usage":{usage}}}"#);
            assert_eq!(Seen::of(Dialect::Chat, whole.as_bytes()).usage, None, "{usage}");
            assert_eq!(tapped(&[&whole, "[DONE]"]).usage, None, "{usage}");
            let body = format!(r#"{{"content":[],"output":[],"usage":{usage}}}"#);
            assert_eq!(Seen::of(Dialect::Messages, body.as_bytes()).usage, None, "{usage}");
            assert_eq!(Seen::of(Dialect::Responses, body.as_bytes()).usage, None, "{usage}");
        }
    }

    #[test]
    fn what_is_cached_for_an_hour_is_told_apart() {
        let usage = |long: u64| {
            format!(
                r#"{{"input_tokens":10,"cache_creation_input_tokens":200,"cache_read_input_tokens":5,"output_tokens":1,
                "cache_creation":{{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":{long}}}}}"#
            )
        };
        for (long, expected) in [(0, 0), (150, 150), (900, 200)] {
            let whole = format!(r#"{{"model":"m","content":[],"usage":{}}}"#, usage(long));
            let found = Seen::of(Dialect::Messages, whole.as_bytes()).usage.unwrap();
            assert_eq!((found.input, found.cache_write, found.cache_write_long), (215, 200, expected));
        }
        let mut tap = Tap::new(Dialect::Messages);
        let start = format!(r#"{{"type":"message_start","message":{{"model":"m","usage":{}}}}}"#, usage(150));
        tap.push(format!("event: message_start\ndata: {}\n\n", start.replace('\n', " ")).as_bytes());
        tap.push(b"event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":9}}\n\n");
        let found = tap.seen().usage.unwrap();
        assert_eq!((found.cache_write, found.cache_write_long, found.output), (200, 150, 9));
    }

    #[test]
    fn an_empty_reason_is_none_and_some_reasons_are_failures() {
        let chunk = |word: &str| format!(r#"{{"choices":[{{"delta":{{"content":"A"}},"finish_reason":"{word}"}}]}}"#);
        assert_eq!(tapped(&[&chunk("")]).stop, None);
        assert_eq!(tapped(&[&chunk("length")]).stop, Some(Stop::MaxTokens));
        let failure = Failure { kind: Kind::Api, message: None };
        assert_eq!(tapped(&[&chunk("error")]).failure, Some(failure.clone()));
        let whole = r#"{"choices":[{"message":{"content":"A"},"finish_reason":"error"}]}"#;
        assert_eq!(Seen::of(Dialect::Chat, whole.as_bytes()).failure, Some(failure));
    }

    #[test]
    fn whole_items_are_a_beginning() {
        let item = r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"message"}}"#;
        for name in ["", "event: response.output_item.done\n"] {
            let mut tap = Tap::new(Dialect::Responses);
            tap.push(b"data: {\"type\":\"response.created\",\"response\":{\"model\":\"m\"}}\n\n");
            assert!(!tap.has_begun());
            tap.push(format!("{name}data: {item}\n\n").as_bytes());
            assert!(tap.has_begun(), "{name:?}");
        }
    }
}
