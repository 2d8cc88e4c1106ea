//! Writes the events of a message's stream. Blocks follow each other here, so what another dialect interleaves is kept until
//! its turn: a call is over when its arguments are a whole object.

use std::collections::VecDeque;

use crate::answer::{Stop, Usage, id_for};
use crate::error::{Kind, error_body};
use crate::json::{self, Object};
use crate::messages::answer::write_usage;
use crate::messages::write::input;
use crate::request::Seal;
use crate::rules::messages_call_id;
use crate::sse;
use crate::stream::{Block, Delta, Fault, MAX_KEPT_BYTES, TOO_MUCH};

const BROKEN_CALL: Fault = Fault(Kind::Api, "The model's arguments for a tool are no JSON object.");

#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// The index of the next block.
    index: u64,
    current: Option<Current>,
    waiting: VecDeque<Waiting>,
    /// Bytes of arguments and of what waits.
    kept: usize,
    refused: bool,
    stop: Option<Stop>,
    sequence: Option<String>,
}

#[derive(Debug)]
struct Current {
    block: u32,
    index: u64,
    kind: Kinds,
    arguments: Arguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinds {
    Text,
    Thinking,
    Call,
}

#[derive(Debug)]
struct Waiting {
    block: u32,
    kind: Start,
    text: String,
    seal: Option<Seal>,
    closed: bool,
}

#[derive(Debug)]
enum Start {
    Text,
    Thinking,
    Redacted(String),
    Call { id: String, name: String },
}

/// The arguments of a call so far, and how deep their braces are.
#[derive(Debug, Default)]
struct Arguments {
    text: String,
    depth: u32,
    in_string: bool,
    escaped: bool,
}

impl Arguments {
    fn push(&mut self, piece: &str) {
        for byte in piece.bytes() {
            match (byte, self.in_string) {
                _ if std::mem::take(&mut self.escaped) => {}
                (b'\\', true) => self.escaped = true,
                (b'"', _) => self.in_string = !self.in_string,
                (b'{' | b'[', false) => self.depth = self.depth.saturating_add(1),
                (b'}' | b']', false) => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        self.text.push_str(piece);
    }

    fn is_whole(&self) -> bool {
        self.depth == 0 && !self.in_string && self.text.trim_ascii_end().ends_with('}')
    }
}

fn event(out: &mut Vec<u8>, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
    sse::begin(out, name);
    json::object(out, |o| {
        o.string("type", name);
        fill(o);
    });
    sse::end(out);
}

impl Writer {
    /// Bytes that are kept for events to come.
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    pub(crate) fn start(&mut self, id: &str, model: &str, usage: Usage, out: &mut Vec<u8>) {
        event(out, "message_start", |o| {
            o.object("message", |o| {
                o.string("id", &id_for("msg_", id));
                o.string("type", "message");
                o.string("role", "assistant");
                o.string("model", model);
                o.literal("content", "[]");
                o.null("stop_reason");
                o.null("stop_sequence");
                o.object("usage", |o| write_usage(o, usage));
            });
        });
    }

    pub(crate) fn delta(&mut self, delta: Delta<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        match delta {
            Delta::Open { block, kind } => {
                self.refused |= matches!(kind, Block::Refusal);
                self.give_way(out)?;
                let kind = match kind {
                    Block::Text | Block::Refusal => Start::Text,
                    Block::Thinking => Start::Thinking,
                    Block::Redacted(data) => Start::Redacted(data.to_owned()),
                    Block::Call { id, name } => Start::Call { id: id.to_owned(), name: name.to_owned() },
                };
                self.waiting.push_back(Waiting { block, kind, text: String::new(), seal: None, closed: false });
                self.advance(out)
            }
            Delta::Piece { block, text } => self.piece(block, text, out),
            Delta::Seal { block, seal } => {
                match self.current.as_ref().filter(|current| current.block == block) {
                    Some(current) => signature(current.index, &seal, out),
                    None => {
                        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.block == block) {
                            waiting.seal = Some(seal);
                        }
                    }
                }
                Ok(())
            }
            Delta::Close { block } => {
                if self.current.as_ref().is_some_and(|current| current.block == block) {
                    self.close(out)?;
                    return self.advance(out);
                }
                if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.block == block) {
                    waiting.closed = true;
                }
                Ok(())
            }
            Delta::Stop { stop, sequence } => {
                self.stop = Some(if self.refused { Stop::Refusal } else { stop });
                self.sequence = sequence.map(ToOwned::to_owned);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A call whose arguments are whole makes room for the next block.
    fn give_way(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let whole = |current: &Current| current.kind == Kinds::Call && current.arguments.is_whole();
        if self.current.as_ref().is_some_and(whole) {
            self.close(out)?;
            return self.advance(out);
        }
        Ok(())
    }

    fn keep(&mut self, bytes: usize) -> Result<(), Fault> {
        self.kept += bytes;
        if self.kept > MAX_KEPT_BYTES { Err(TOO_MUCH) } else { Ok(()) }
    }

    fn piece(&mut self, block: u32, text: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
        let now = self.current.as_ref().is_some_and(|current| current.block == block);
        if !now {
            self.keep(text.len())?;
            if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.block == block) {
                waiting.text.push_str(text);
                return self.give_way(out);
            }
            return match text.trim_ascii().is_empty() {
                true => Ok(()),
                // It was closed as a whole object, and now there is more.
                false => Err(BROKEN_CALL),
            };
        }
        self.write_piece(text, out)
    }

    fn write_piece(&mut self, text: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let (kind, key) = match current.kind {
            Kinds::Text => ("text_delta", "text"),
            Kinds::Thinking => ("thinking_delta", "thinking"),
            Kinds::Call => ("input_json_delta", "partial_json"),
        };
        let index = current.index;
        if current.kind == Kinds::Call {
            current.arguments.push(text);
            self.keep(text.len())?;
        }
        event(out, "content_block_delta", |o| {
            o.number("index", index);
            o.object("delta", |o| {
                o.string("type", kind);
                o.string(key, text);
            });
        });
        Ok(())
    }

    /// Begins what waits, as far as that is its turn.
    fn advance(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        while self.current.is_none() {
            let Some(waiting) = self.waiting.pop_front() else { return Ok(()) };
            self.kept = self.kept.saturating_sub(waiting.text.len());
            self.begin(&waiting, out);
            if !waiting.text.is_empty() {
                self.write_piece(&waiting.text, out)?;
            }
            if let (Some(seal), Some(current)) = (&waiting.seal, &self.current) {
                signature(current.index, seal, out);
            }
            let whole = self.current.as_ref().is_some_and(|current| current.arguments.is_whole());
            if waiting.closed || (whole && !self.waiting.is_empty()) {
                self.close(out)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, waiting: &Waiting, out: &mut Vec<u8>) {
        let index = self.index;
        self.index += 1;
        event(out, "content_block_start", |o| {
            o.number("index", index);
            o.object("content_block", |o| match &waiting.kind {
                Start::Text => {
                    o.string("type", "text");
                    o.string("text", "");
                }
                Start::Thinking => {
                    o.string("type", "thinking");
                    o.string("thinking", "");
                    o.string("signature", "");
                }
                Start::Redacted(data) => {
                    o.string("type", "redacted_thinking");
                    o.string("data", data);
                }
                Start::Call { id, name } => {
                    o.string("type", "tool_use");
                    o.string("id", &messages_call_id(id));
                    o.string("name", name);
                    o.literal("input", "{}");
                }
            });
        });
        let kind = match waiting.kind {
            Start::Text => Kinds::Text,
            Start::Thinking | Start::Redacted(_) => Kinds::Thinking,
            Start::Call { .. } => Kinds::Call,
        };
        self.current = Some(Current { block: waiting.block, index, kind, arguments: Arguments::default() });
    }

    /// Ends the block that is being written. A call whose arguments are no object stays, and all after it, until the reason
    /// to stop is known: a client must not see the end of a call that it cannot read.
    fn close(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Some(current) = &self.current else { return Ok(()) };
        if current.kind == Kinds::Call && input(&current.arguments.text).is_none() {
            match self.stop {
                None => return Ok(()),
                Some(stop) if stop.cuts() => {}
                Some(_) => return Err(BROKEN_CALL),
            }
        }
        self.kept = self.kept.saturating_sub(current.arguments.text.len());
        let index = current.index;
        self.current = None;
        event(out, "content_block_stop", |o| o.number("index", index));
        Ok(())
    }

    pub(crate) fn end(&mut self, usage: Option<Usage>, out: &mut Vec<u8>) -> Result<(), Fault> {
        // Nothing is open here unless the upstream forgot to close it, or a call is cut.
        self.stop.get_or_insert(Stop::End);
        self.waiting.iter_mut().for_each(|waiting| waiting.closed = true);
        if self.stop.is_some_and(Stop::cuts) {
            // Calls that the limit has cut, and of which the client saw nothing.
            self.waiting
                .retain(|waiting| !matches!(waiting.kind, Start::Call { .. }) || input(&waiting.text).is_some());
        }
        self.close(out)?;
        self.advance(out)?;
        self.close(out)?;
        event(out, "message_delta", |o| {
            o.object("delta", |o| {
                o.string("stop_reason", self.stop.unwrap_or(Stop::End).messages());
                o.optional("stop_sequence", self.sequence.as_deref());
            });
            o.object("usage", |o| write_usage(o, usage.unwrap_or_default()));
        });
        event(out, "message_stop", |_| {});
        Ok(())
    }
}

fn signature(index: u64, seal: &Seal, out: &mut Vec<u8>) {
    event(out, "content_block_delta", |o| {
        o.number("index", index);
        o.object("delta", |o| {
            o.string("type", "signature_delta");
            o.string("signature", &seal.signature());
        });
    });
}

pub(crate) fn fail(kind: Kind, message: &str, out: &mut Vec<u8>) {
    sse::write(out, "error", &error_body(crate::Dialect::Messages, kind, message, None));
}
