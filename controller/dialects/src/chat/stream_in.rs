//! Reads the chunks of a chat completion's stream. Takes what compatible servers really send: calls without an index or all
//! with index 0, no reason to finish, usage null or twice, thinking under several names.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::answer::Stop;
use crate::chat::answer::{Said as Part, said, usage};
use crate::error::{Failure, Kind};
use crate::fields::Fields;
use crate::request::Seal;
use crate::sse::Event;
use crate::stream::{Block, Delta, Fault, MAX_BLOCKS};

#[derive(Debug, Default)]
pub(crate) struct Reader {
    started: bool,
    next: u32,
    /// The text, thought or refusal that is being written.
    open: Option<(u32, Said)>,
    calls: Vec<Call>,
    /// A call was opened, though it may be over.
    called: bool,
    stopped: bool,
    /// Ids made for calls that have none.
    made: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Text,
    Refusal,
    Thinking,
}

#[derive(Debug)]
struct Call {
    index: u64,
    block: u32,
    id: String,
}

impl Reader {
    pub(crate) fn event(&mut self, event: Event<'_>, each: &mut impl FnMut(Delta<'_>)) -> Result<(), Fault> {
        if event.is_done() {
            self.close_all(each);
            each(Delta::End);
            return Ok(());
        }
        let Some(mut chunk) = Fields::tolerant(event.data.as_bytes()) else {
            return Err(Fault(Kind::Api, "The upstream sent a chunk that is no JSON object."));
        };
        if chunk.look("error").is_some() {
            each(Delta::Failed(Failure::of_fields(chunk, Kind::Api)));
            return Ok(());
        }
        // Azure begins with a chunk about its filters, which has no id and no choice.
        let names = chunk.text("id").is_some_and(|id| !id.is_empty()) || !chunk.items("choices").is_empty();
        if names && !std::mem::replace(&mut self.started, true) {
            let (id, model) = (chunk.text("id").unwrap_or_default(), chunk.text("model").unwrap_or_default());
            each(Delta::Start { id: &id, model: &model });
        }
        if let Some(fields) = chunk.child("usage") {
            each(Delta::Usage(usage(fields)));
        }
        for mut choice in chunk.items("choices").into_iter().filter_map(Fields::of) {
            // Requests ask for one choice only.
            if choice.count("index").unwrap_or_default() != 0 || self.stopped {
                continue;
            }
            if let Some(mut delta) = choice.child("delta") {
                self.delta(&mut delta, each)?;
            }
            if let Some(word) = choice.text("finish_reason") {
                self.finish(&word, each);
            }
        }
        Ok(())
    }

    fn finish(&mut self, word: &str, each: &mut impl FnMut(Delta<'_>)) {
        self.close_all(each);
        self.stopped = true;
        let stop = Stop::of_chat(word);
        let stop = if self.called && stop == Stop::End { Stop::Tools } else { stop };
        each(Delta::Stop { stop, sequence: None });
    }

    fn delta(&mut self, delta: &mut Fields<'_>, each: &mut impl FnMut(Delta<'_>)) -> Result<(), Fault> {
        let filled = |text: &Cow<'_, str>| !text.is_empty();
        let thought = delta.text("reasoning_content").filter(filled).or_else(|| delta.text("reasoning").filter(filled));
        if let Some(text) = &thought {
            self.piece(Said::Thinking, text, each);
        }
        for block in delta.items("thinking_blocks").into_iter().filter_map(Fields::of) {
            self.thinking_block(block, thought.is_some(), each);
        }
        said(delta, |part| match part {
            Part::Text(text) => self.piece(Said::Text, text, each),
            Part::Thought(text) => self.piece(Said::Thinking, text, each),
        });
        if let Some(text) = delta.text("refusal").filter(filled) {
            self.piece(Said::Refusal, &text, each);
        }
        for call in delta.items("tool_calls").into_iter().filter_map(Fields::of) {
            self.call(call, each)?;
        }
        Ok(())
    }

    /// A piece of `thinking_blocks`. Its text is the same as `reasoning_content`'s where that is there too.
    fn thinking_block(&mut self, mut block: Fields<'_>, told: bool, each: &mut impl FnMut(Delta<'_>)) {
        if let Some(data) = block.text("data").filter(|data| !data.is_empty()) {
            self.close_open(each);
            let number = self.number();
            each(Delta::Open { block: number, kind: Block::Redacted(&data) });
            each(Delta::Close { block: number });
        }
        if let (Some(text), false) = (block.text("thinking").filter(|text| !text.is_empty()), told) {
            self.piece(Said::Thinking, &text, each);
        }
        let Some(signature) = block.text("signature").filter(|text| !text.is_empty()) else { return };
        if !matches!(self.open, Some((_, Said::Thinking))) {
            // A signature alone is the proof of a thought that is not shown.
            self.open(Said::Thinking, each);
        }
        if let Some((number, _)) = self.open {
            each(Delta::Seal { block: number, seal: Seal::of_signature(&signature) });
            self.close_open(each);
        }
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn open(&mut self, kind: Said, each: &mut impl FnMut(Delta<'_>)) -> u32 {
        self.close_open(each);
        let number = self.number();
        self.open = Some((number, kind));
        let block = match kind {
            Said::Text => Block::Text,
            Said::Refusal => Block::Refusal,
            Said::Thinking => Block::Thinking,
        };
        each(Delta::Open { block: number, kind: block });
        number
    }

    fn piece(&mut self, kind: Said, text: &str, each: &mut impl FnMut(Delta<'_>)) {
        let number = match self.open {
            Some((number, open)) if open == kind => number,
            _ => self.open(kind, each),
        };
        each(Delta::Piece { block: number, text });
    }

    fn close_open(&mut self, each: &mut impl FnMut(Delta<'_>)) {
        if let Some((block, _)) = self.open.take() {
            each(Delta::Close { block });
        }
    }

    fn close_all(&mut self, each: &mut impl FnMut(Delta<'_>)) {
        self.close_open(each);
        for call in self.calls.drain(..) {
            each(Delta::Close { block: call.block });
        }
    }

    fn call(&mut self, mut call: Fields<'_>, each: &mut impl FnMut(Delta<'_>)) -> Result<(), Fault> {
        let id = call.text("id").filter(|id| !id.is_empty());
        let mut function = call.child("function");
        let name = function.as_mut().and_then(|function| function.text("name")).filter(|name| !name.is_empty());
        let index = call.count("index");
        // A server that sends no index means the last call, unless it names a new one.
        let last = self.calls.len().checked_sub(1);
        let known = match (index, &id) {
            (Some(index), _) => self.calls.iter().rposition(|call| call.index == index),
            (None, Some(id)) => self.calls.iter().rposition(|call| call.id == *id.as_ref()).or(last),
            (None, None) => last,
        };
        let known = known.and_then(|at| self.calls.get(at));
        // Another id on an index that is known is another call.
        let new = match (known, &id) {
            (Some(known), Some(id)) => known.id != *id.as_ref() && name.is_some(),
            (Some(_), None) => index.is_none() && name.is_some(),
            (None, _) => true,
        };
        let block = match known.filter(|_| !new) {
            Some(known) => known.block,
            None => self.open_call(index, id.as_deref(), name.as_deref(), call.look("extra_content"), each)?,
        };
        let Some(mut function) = function else { return Ok(()) };
        match function.text("arguments") {
            Some(text) if text.is_empty() => {}
            Some(text) => each(Delta::Piece { block, text: &text }),
            // Some servers send an object in place of its text.
            None => {
                if let Some(raw) = function.look("arguments") {
                    each(Delta::Piece { block, text: raw.get() });
                }
            }
        }
        Ok(())
    }

    fn open_call(
        &mut self,
        index: Option<u64>,
        id: Option<&str>,
        name: Option<&str>,
        extra: Option<&RawValue>,
        each: &mut impl FnMut(Delta<'_>),
    ) -> Result<u32, Fault> {
        let name = name.ok_or(Fault(Kind::Api, "The upstream sent a tool call without a name."))?;
        if self.calls.len() >= MAX_BLOCKS as usize {
            return Err(crate::stream::TOO_MUCH);
        }
        self.close_open(each);
        self.called = true;
        let made;
        let id = match id {
            Some(id) => id,
            None => {
                self.made += 1;
                made = format!("call_{}", self.made);
                &made
            }
        };
        if let Some(extra) = extra.filter(|raw| raw.get().starts_with('{')) {
            let seal = Seal::Extra { call: id.to_owned(), json: extra.get().to_owned() };
            let block = self.number();
            each(Delta::Open { block, kind: Block::Redacted(&seal.redacted().unwrap_or_default()) });
            each(Delta::Close { block });
        }
        let block = self.number();
        each(Delta::Open { block, kind: Block::Call { id, name } });
        self.calls.push(Call { index: index.unwrap_or(u64::MAX), block, id: id.to_owned() });
        Ok(block)
    }
}
