//! Reads the chunks of a chat completion's stream. Takes what compatible servers really send: calls without an index or all
//! with index 0, no reason to finish, usage null or twice, thinking under several names.

use serde_json::value::RawValue;

use crate::answer::Stop;
use crate::chars::Chars;
use crate::chat::answer::{Said as Part, failed, said, usage};
use crate::error::{Failure, Kind};
use crate::fields::Fields;
use crate::request::Seal;
use crate::sse::Event;
use crate::stream::{Block, Delta, Fault, MAX_BLOCKS, MAX_KEPT_BYTES, TOO_MUCH};

#[derive(Debug, Default)]
pub(crate) struct Reader {
    started: bool,
    next: u32,
    /// The text, thought or refusal that is being written.
    open: Option<(u32, Said)>,
    calls: Vec<Call>,
    /// A call was opened, though it may be over.
    called: bool,
    /// Something came in a `delta`; a `message` beside it repeats it.
    pieces: bool,
    stop: Option<Stop>,
    /// Bytes kept for calls without a name.
    kept: usize,
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
    /// None until its name has come.
    block: Option<u32>,
    id: Option<String>,
    /// Kept for a call without a name: what Gemini's servers put beside it, and its first arguments.
    extra: Option<String>,
    early: String,
}

/// The index of the one call that `function_call` writes; no other call has it.
const OLD_INDEX: u64 = u64::MAX - 1;

impl Reader {
    pub(crate) fn event(&mut self, event: Event<'_>, each: &mut impl FnMut(Delta<'_>)) -> Result<(), Fault> {
        if event.is_done() {
            return self.end(each);
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
        if let Some(usage) = chunk.child("usage").and_then(usage) {
            each(Delta::Usage(usage));
        }
        for mut choice in chunk.items("choices").into_iter().filter_map(Fields::of) {
            // Requests ask for one choice only.
            if choice.count("index").unwrap_or_default() != 0 {
                continue;
            }
            if let Some(usage) = choice.child("usage").and_then(usage) {
                // Moonshot's servers count beside the last words.
                each(Delta::Usage(usage));
            }
            if let Some(mut delta) = choice.child("delta") {
                let before = (self.next, self.calls.len());
                self.delta(&mut delta, each)?;
                self.pieces |= before != (self.next, self.calls.len());
            }
            if let (Some(mut message), false) = (choice.child("message"), self.pieces) {
                self.delta(&mut message, each)?;
            }
            let word = choice.text("finish_reason").filter(|word| !word.is_empty());
            if let Some(failure) = word.as_deref().and_then(|word| failed(word, &choice)) {
                each(Delta::Failed(failure));
                return Ok(());
            }
            if let Some(stop) = word.map(|word| Stop::of_chat(&word)) {
                // Some servers say a reason in every chunk, and all go on after it for a while.
                if stop != Stop::End || self.stop.is_none() {
                    self.stop = Some(stop);
                }
                each(Delta::Stop { stop, sequence: None });
            }
        }
        Ok(())
    }

    /// Ends an answer that has its reason to stop, or the end marker.
    pub(crate) fn end(&mut self, each: &mut impl FnMut(Delta<'_>)) -> Result<(), Fault> {
        self.close_open(each);
        for call in self.calls.drain(..) {
            match call.block {
                Some(block) => each(Delta::Close { block }),
                None if call.id.is_none() && call.early.is_empty() => {}
                // The limit may come before the name.
                None if self.stop.is_some_and(Stop::cuts) => {}
                None => return Err(Fault(Kind::Api, "The upstream sent a tool call without a name.")),
            }
        }
        // Servers end a turn of calls with `stop` now and then, and a forced call always.
        if self.called && self.stop == Some(Stop::End) {
            each(Delta::Stop { stop: Stop::Tools, sequence: None });
        }
        each(Delta::End);
        Ok(())
    }

    fn delta(&mut self, delta: &mut Fields<'_>, each: &mut impl FnMut(Delta<'_>)) -> Result<(), Fault> {
        let filled = |text: &Chars<'_>| !text.is_empty();
        let mut told = |key| delta.chars(key).filter(filled);
        let thought = told("reasoning_content").or_else(|| told("reasoning"));
        if let Some(text) = &thought {
            self.piece(Said::Thinking, text, each);
        }
        for block in delta.items("thinking_blocks").into_iter().filter_map(Fields::of) {
            self.thinking_block(block, thought.is_some(), each);
        }
        said(delta, |part| match part {
            Part::Text(text) => self.piece(Said::Text, &text, each),
            Part::Thought(text) => self.piece(Said::Thinking, &text, each),
        });
        if let Some(text) = delta.chars("refusal").filter(filled) {
            self.piece(Said::Refusal, &text, each);
        }
        self.calls(delta, each)
    }

    /// A piece of `thinking_blocks`. Its text is the same as `reasoning_content`'s where that is there too.
    fn thinking_block(&mut self, mut block: Fields<'_>, told: bool, each: &mut impl FnMut(Delta<'_>)) {
        if let Some(data) = block.text("data").filter(|data| !data.is_empty()) {
            self.close_open(each);
            let number = self.number();
            each(Delta::Open { block: number, kind: Block::Redacted(&data) });
            each(Delta::Close { block: number });
        }
        if let (Some(text), false) = (block.chars("thinking").filter(|text| !text.is_empty()), told) {
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

    fn piece(&mut self, kind: Said, text: &Chars<'_>, each: &mut impl FnMut(Delta<'_>)) {
        let number = match self.open {
            Some((number, open)) if open == kind => number,
            _ => self.open(kind, each),
        };
        text.give(number, each);
    }

    fn close_open(&mut self, each: &mut impl FnMut(Delta<'_>)) {
        if let Some((block, _)) = self.open.take() {
            each(Delta::Close { block });
        }
    }

    fn calls(&mut self, delta: &mut Fields<'_>, each: &mut impl FnMut(Delta<'_>)) -> Result<(), Fault> {
        for mut call in delta.items("tool_calls").into_iter().filter_map(Fields::of) {
            let id = call.text("id").filter(|id| !id.is_empty());
            let (index, extra) = (call.count("index"), call.look("extra_content"));
            self.call(index, id.as_deref(), call.child("function"), extra, each)?;
        }
        // The call of before there were several.
        if let Some(function) = delta.child("function_call") {
            self.call(Some(OLD_INDEX), None, Some(function), None, each)?;
        }
        Ok(())
    }

    /// A piece of a call.
    fn call(
        &mut self,
        index: Option<u64>,
        id: Option<&str>,
        function: Option<Fields<'_>>,
        extra: Option<&RawValue>,
        each: &mut impl FnMut(Delta<'_>),
    ) -> Result<(), Fault> {
        let mut function = function;
        let name = function.as_mut().and_then(|function| function.text("name")).filter(|name| !name.is_empty());
        // A server that sends no index means the last call, unless it names a new one.
        let last = self.calls.len().checked_sub(1);
        let at = match (index, id) {
            (Some(index), _) => self.calls.iter().rposition(|call| call.index == index),
            (None, Some(id)) => self.calls.iter().rposition(|call| call.id.as_deref() == Some(id)).or(last),
            (None, None) => last,
        };
        let known = at.and_then(|at| self.calls.get(at));
        // Another id on an index that is known is another call, and so is another name without an index.
        let new = match (known, id) {
            (Some(known), Some(id)) => known.id.as_deref().is_some_and(|known| known != id) && name.is_some(),
            (Some(known), None) => index.is_none() && name.is_some() && known.block.is_some(),
            (None, _) => true,
        };
        let at = match at.filter(|_| !new) {
            Some(at) => at,
            None => {
                if self.calls.len() >= MAX_BLOCKS as usize {
                    return Err(TOO_MUCH);
                }
                let index = index.unwrap_or(u64::MAX);
                self.calls.push(Call { index, block: None, id: None, extra: None, early: String::new() });
                self.calls.len() - 1
            }
        };
        let Some(call) = self.calls.get_mut(at) else { return Ok(()) };
        if call.block.is_none() {
            // Its name may come later than its id and its first arguments.
            let mut kept = 0;
            if let (Some(id), None) = (id, &call.id) {
                call.id = Some(id.to_owned());
                kept += id.len();
            }
            if let Some(extra) = extra.filter(|raw| raw.get().starts_with('{')) {
                call.extra = Some(extra.get().to_owned());
                kept += extra.get().len();
            }
            self.kept += kept;
            if self.kept > MAX_KEPT_BYTES {
                return Err(TOO_MUCH);
            }
            if let Some(name) = &name {
                self.open_call(at, name, each);
            }
        }
        match function {
            Some(mut function) => self.arguments(at, &mut function, each),
            None => Ok(()),
        }
    }

    fn arguments(
        &mut self,
        at: usize,
        function: &mut Fields<'_>,
        each: &mut impl FnMut(Delta<'_>),
    ) -> Result<(), Fault> {
        // Some servers send an object in place of its text.
        let told = function.chars("arguments");
        let text = told.or_else(|| function.look("arguments").map(|raw| raw.get().into()));
        let (Some(text), Some(call)) = (text, self.calls.get_mut(at)) else { return Ok(()) };
        match call.block {
            Some(block) => text.give(block, each),
            None => {
                let text = text.whole();
                self.kept += text.len();
                call.early.push_str(&text);
                if self.kept > MAX_KEPT_BYTES {
                    return Err(TOO_MUCH);
                }
            }
        }
        Ok(())
    }

    fn open_call(&mut self, at: usize, name: &str, each: &mut impl FnMut(Delta<'_>)) {
        self.close_open(each);
        self.called = true;
        let (proof, block) = (self.number(), self.number());
        let Some(call) = self.calls.get_mut(at) else { return };
        let made = &mut self.made;
        let id = call.id.get_or_insert_with(|| {
            *made += 1;
            format!("call_{made}")
        });
        if let Some(json) = call.extra.take() {
            let seal = Seal::Extra { call: id.clone(), json };
            each(Delta::Open { block: proof, kind: Block::Redacted(&seal.redacted().unwrap_or_default()) });
            each(Delta::Close { block: proof });
        }
        call.block = Some(block);
        each(Delta::Open { block, kind: Block::Call { id, name } });
        if !call.early.is_empty() {
            each(Delta::Piece { block, text: &std::mem::take(&mut call.early) });
        }
    }
}
