//! A model's answer, put together from the chunks of its stream. Takes what servers send that do not keep to the protocol; whatever
//! it takes has a bound.

use cofferdam_dialects::{Kind, Usage};
use serde_json::{Map, Value};

/// Bytes of an answer's text, of its thoughts, and of one call's arguments.
const MAX_TEXT_BYTES: usize = 4 << 20;
const MAX_ARGUMENT_BYTES: usize = 1 << 20;
/// Calls of one answer that are read. Further ones are counted.
pub(crate) const MAX_CALLS: usize = 64;
/// Bytes of a name.
const MAX_NAME_BYTES: usize = 256;
/// Thoughts with a proof, in bytes of JSON.
const MAX_OPAQUE_BYTES: usize = 1 << 20;

/// A call as the model wrote it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SaidCall {
    pub id: String,
    pub index: Option<u64>,
    pub name: String,
    pub arguments: String,
    pub extra: Option<Value>,
    /// Its arguments were longer than the bound.
    pub too_long: bool,
}

/// The model's answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Said {
    pub text: String,
    pub thinking: String,
    pub refusal: String,
    pub calls: Vec<SaidCall>,
    /// Calls beyond [`MAX_CALLS`].
    pub more_calls: usize,
    pub stop: Option<String>,
    pub usage: Option<Usage>,
    pub model: String,
    thinking_blocks: Vec<Value>,
    opaque_bytes: usize,
    /// The stream has come to its end mark.
    pub done: bool,
    /// Something was longer than its bound.
    pub cut: bool,
}

/// A piece that somebody who looks on is shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    Text(String),
    Thought(String),
}

/// An error that came in the middle.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failed {
    pub kind: Kind,
    pub message: String,
}

impl Said {
    /// Takes the data of an event.
    pub(crate) fn take(&mut self, data: &str, shown: &mut Vec<Piece>) -> Result<(), Failed> {
        if data.trim() == "[DONE]" {
            self.done = true;
            return Ok(());
        }
        // One that is no JSON is left out: nothing that it may say can be known.
        let Ok(Value::Object(chunk)) = serde_json::from_str::<Value>(data) else { return Ok(()) };
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            return Err(failed(error));
        }
        if let Some(usage) = chunk.get("usage").and_then(usage) {
            self.usage = Some(usage);
        }
        let Some(choice) = chunk.get("choices").and_then(|choices| choices.get(0)) else { return Ok(()) };
        for key in ["delta", "message"] {
            if let Some(delta) = choice.get(key).and_then(Value::as_object) {
                self.delta(delta, shown);
            }
        }
        match choice.get("finish_reason").and_then(Value::as_str) {
            Some(word @ ("error" | "network_error" | "abort" | "insufficient_system_resource")) => {
                let kind = if word == "insufficient_system_resource" { Kind::Overloaded } else { Kind::Api };
                return Err(Failed { kind, message: format!("The model ended with `{word}`.") });
            }
            Some(word) if !word.is_empty() => self.stop = Some(word.chars().take(64).collect()),
            _ => {}
        }
        Ok(())
    }

    fn delta(&mut self, delta: &Map<String, Value>, shown: &mut Vec<Piece>) {
        match delta.get("content") {
            Some(Value::String(text)) => self.text(text, shown),
            Some(Value::Array(parts)) => {
                for part in parts {
                    if let Some(text) = part.get("text").and_then(Value::as_str) {
                        self.text(text, shown);
                    }
                    for thought in part.get("thinking").and_then(Value::as_array).into_iter().flatten() {
                        self.thought(thought.get("text").and_then(Value::as_str).unwrap_or_default(), shown);
                    }
                }
            }
            _ => {}
        }
        let thought = ["reasoning_content", "reasoning"].into_iter().find_map(|key| delta.get(key)?.as_str());
        self.thought(thought.unwrap_or_default(), shown);
        if let Some(refusal) = delta.get("refusal").and_then(Value::as_str) {
            push(&mut self.refusal, refusal, MAX_TEXT_BYTES, &mut self.cut);
        }
        for block in delta.get("thinking_blocks").and_then(Value::as_array).into_iter().flatten() {
            self.opaque_bytes = self.opaque_bytes.saturating_add(block.to_string().len());
            if self.opaque_bytes <= MAX_OPAQUE_BYTES {
                self.thinking_blocks.push(block.clone());
            }
        }
        for call in delta.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            self.call(call);
        }
    }

    fn text(&mut self, text: &str, shown: &mut Vec<Piece>) {
        if push(&mut self.text, text, MAX_TEXT_BYTES, &mut self.cut) {
            shown.push(Piece::Text(text.to_owned()));
        }
    }

    fn thought(&mut self, text: &str, shown: &mut Vec<Piece>) {
        let mut cut = false;
        if push(&mut self.thinking, text, MAX_TEXT_BYTES, &mut cut) {
            shown.push(Piece::Thought(text.to_owned()));
        }
    }

    /// Takes a piece of a call. Servers leave the index away, or give all calls the same one: a new id begins a new call.
    fn call(&mut self, piece: &Value) {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let (id, index) = (text(piece.get("id")), piece.get("index").and_then(Value::as_u64));
        let function = piece.get("function");
        let name = text(function.and_then(|function| function.get("name")));
        let is_same = |call: &SaidCall| {
            (id.is_empty() || call.id.is_empty() || call.id == id)
                && (index.is_none() || call.index.is_none() || call.index == index)
        };
        let begins = match self.calls.last() {
            None => true,
            Some(last) if id.is_empty() && index.is_none() => !name.is_empty() && !last.name.is_empty(),
            Some(_) => !self.calls.iter().any(is_same),
        };
        if begins {
            if self.calls.len() >= MAX_CALLS {
                self.more_calls += 1;
                return;
            }
            self.calls.push(SaidCall { id: id.clone(), index, ..SaidCall::default() });
        }
        let found = match id.is_empty() && index.is_none() {
            true => self.calls.last_mut(),
            false => self.calls.iter_mut().rev().find(|call| is_same(call)),
        };
        let Some(call) = found else { return };
        push(&mut call.name, &name, MAX_NAME_BYTES, &mut call.too_long);
        if call.extra.is_none() {
            call.extra = piece
                .get("extra_content")
                .filter(|extra| extra.is_object() && extra.to_string().len() <= MAX_ARGUMENT_BYTES)
                .cloned();
        }
        match function.and_then(|function| function.get("arguments")) {
            Some(Value::String(arguments)) => {
                push(&mut call.arguments, arguments, MAX_ARGUMENT_BYTES, &mut call.too_long);
            }
            // Some servers send an object.
            Some(Value::Null) | None => {}
            Some(other) => {
                push(&mut call.arguments, &other.to_string(), MAX_ARGUMENT_BYTES, &mut call.too_long);
            }
        }
    }

    /// Thoughts in the provider's form, and what it wants back with calls; `ids` are our ids of the calls.
    pub(crate) fn opaque(&self, ids: &[String]) -> Option<Value> {
        let mut opaque = Map::new();
        if !self.thinking_blocks.is_empty() && self.opaque_bytes <= MAX_OPAQUE_BYTES {
            opaque.insert("thinking_blocks".into(), self.thinking_blocks.clone().into());
        }
        let extra: Map<String, Value> =
            ids.iter().zip(&self.calls).filter_map(|(id, call)| Some((id.clone(), call.extra.clone()?))).collect();
        if !extra.is_empty() {
            opaque.insert("extra_content".into(), extra.into());
        }
        (!opaque.is_empty()).then_some(Value::Object(opaque))
    }

    /// Returns true if the stream came to an end of its own.
    pub(crate) fn is_whole(&self) -> bool {
        self.done || self.stop.is_some()
    }
}

fn push(whole: &mut String, piece: &str, most: usize, cut: &mut bool) -> bool {
    if piece.is_empty() {
        return false;
    }
    if whole.len() + piece.len() > most {
        *cut = true;
        return false;
    }
    // PostgreSQL stores none.
    match piece.contains('\0') {
        true => whole.extend(piece.chars().filter(|c| *c != '\0')),
        false => whole.push_str(piece),
    }
    true
}

/// Reads an error of a chat completion.
pub(crate) fn failed(error: &Value) -> Failed {
    let word = |key: &str| error.get(key).and_then(Value::as_str);
    let kind = ["code", "type"].into_iter().find_map(|key| Kind::of_name(word(key)?)).unwrap_or(Kind::Api);
    let message = word("message").or(error.as_str()).unwrap_or("The model failed.").chars().take(1_000).collect();
    Failed { kind, message }
}

fn usage(value: &Value) -> Option<Usage> {
    let usage = value.as_object()?;
    let number = |key: &str| usage.get(key).and_then(Value::as_u64).unwrap_or_default();
    let detail =
        |of: &str, key: &str| usage.get(of).and_then(|of| of.get(key)).and_then(Value::as_u64).unwrap_or_default();
    Some(Usage {
        input: number("prompt_tokens"),
        cached: detail("prompt_tokens_details", "cached_tokens"),
        cache_write: detail("prompt_tokens_details", "cache_write_tokens"),
        cache_write_long: 0,
        output: number("completion_tokens"),
        reasoning: detail("completion_tokens_details", "reasoning_tokens"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(events: &[&str]) -> (Said, Vec<Piece>) {
        let (mut said, mut shown) = (Said::default(), Vec::new());
        events.iter().for_each(|event| said.take(event, &mut shown).unwrap());
        (said, shown)
    }

    #[test]
    fn chunks_are_put_together() {
        let (said, shown) = said(&[
            r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#,
            r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#,
            r#"{"choices":[{"delta":{"content":"He"}}]}"#,
            "no json",
            r#"{"choices":[{"delta":{"content":"llo"},"finish_reason":"stop"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3}}}"#,
            "[DONE]",
        ]);
        assert_eq!((said.text.as_str(), said.thinking.as_str(), said.is_whole()), ("Hello", "hm", true));
        assert_eq!(said.usage.map(|usage| (usage.input, usage.cached, usage.output)), Some((5, 3, 2)));
        assert_eq!(shown.len(), 3);
    }

    #[test]
    fn calls_are_told_apart_whatever_their_index() {
        let whole = |events: &[&str]| {
            let calls = said(events).0.calls;
            calls.into_iter().map(|call| format!("{}({})", call.name, call.arguments)).collect::<Vec<_>>()
        };
        let proper = whole(&[
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"x","arguments":""}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"y","arguments":"{"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"arguments":"}"}}]}}]}"#,
        ]);
        assert_eq!(proper, ["x({})", "y({})"]);
        let zero = whole(&[
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"x","arguments":"{}"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"b","function":{"name":"y","arguments":"{"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}}]}"#,
        ]);
        assert_eq!(zero, ["x({})", "y({})"]);
        let bare = whole(&[
            r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"x","arguments":{"a":1}}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"y","arguments":"{}"}}]}}]}"#,
        ]);
        assert_eq!(bare, ["x({\"a\":1})", "y({})"]);
        assert_eq!(
            whole(&[r#"{"choices":[{"delta":{"tool_calls":[{"index":9,"function":{"arguments":"{}"}}]}}]}"#]),
            ["({})"]
        );
    }

    #[test]
    fn an_error_in_the_middle_has_a_kind() {
        let mut said = Said::default();
        let error = r#"{"error":{"message":"busy","type":"server_error","code":"server_overloaded"}}"#;
        assert_eq!(said.take(error, &mut Vec::new()).unwrap_err().kind, Kind::Overloaded);
    }
}
