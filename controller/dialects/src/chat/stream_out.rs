//! Writes the chunks of a chat completion's stream.

use crate::answer::{Stop, Usage, id_for};
use crate::chat::answer::{custom_call, write_usage};
use crate::chat::write::thinking_block;
use crate::custom;
use crate::error::{Kind, error_body};
use crate::json::{self, Object};

use crate::request::{Request, Seal};
use crate::sse;
use crate::stream::{Block, Delta, Fault, MAX_KEPT_BYTES, TOO_MUCH};

#[derive(Debug)]
pub(crate) struct Writer {
    include_usage: bool,
    /// Names of custom tools. Their arguments are kept until they are whole.
    custom: Vec<String>,
    kept: usize,
    created: u64,
    /// A chunk up to its delta, which is the same for all.
    head: Vec<u8>,
    open: Vec<Open>,
    calls: u64,
    /// Thoughts with a proof, which are told at the end.
    sealed: Vec<(String, Seal)>,
}

#[derive(Debug)]
struct Open {
    block: u32,
    kind: Kinds,
    /// Its index among the calls or thoughts.
    index: u64,
    empty: bool,
    /// Arguments of a custom tool, or a thought.
    text: String,
    seal: Seal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinds {
    Text,
    Refusal,
    Thinking,
    Call,
    Custom,
}

impl Writer {
    /// Bytes that are kept for events to come.
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    pub(crate) fn new(request: &Request, created: u64) -> Self {
        let custom = request.custom.iter().map(|custom| custom.name.clone()).collect();
        Self {
            include_usage: request.include_usage,
            custom,
            kept: 0,
            created,
            head: Vec::new(),
            open: Vec::new(),
            calls: 0,
            sealed: Vec::new(),
        }
    }

    pub(crate) fn start(&mut self, id: &str, model: &str, out: &mut Vec<u8>) {
        sse::begin(&mut self.head, "");
        json::object(&mut self.head, |o| {
            o.string("id", &id_for("chatcmpl-", id));
            o.string("object", "chat.completion.chunk");
            o.number("created", self.created);
            o.string("model", model);
        });
        // The object goes on.
        self.head.pop();
        self.chunk(None, out, |o| {
            o.string("role", "assistant");
            o.string("content", "");
        });
    }

    fn chunk(&self, stop: Option<Stop>, out: &mut Vec<u8>, delta: impl FnOnce(&mut Object<'_>)) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(br#","choices":[{"index":0,"delta":"#);
        json::object(out, delta);
        out.extend_from_slice(br#","logprobs":null,"finish_reason":"#);
        match stop {
            Some(stop) => json::string(out, stop.chat()),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b"}]}");
        sse::end(out);
    }

    pub(crate) fn delta(&mut self, delta: Delta<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        match delta {
            Delta::Open { block, kind } => self.open(block, kind, out),
            Delta::Piece { block, text } => return self.piece(block, text, out),
            Delta::Seal { block, seal } => {
                if let Some(open) = self.open.iter_mut().find(|open| open.block == block) {
                    open.seal = seal;
                }
            }
            Delta::Close { block } => {
                if let Some(at) = self.open.iter().position(|open| open.block == block) {
                    let open = self.open.swap_remove(at);
                    match open.kind {
                        Kinds::Call if open.empty => self.arguments(open.index, "{}", out),
                        Kinds::Thinking if open.seal != Seal::Open => self.sealed.push((open.text, open.seal)),
                        Kinds::Thinking => self.kept = self.kept.saturating_sub(open.text.len()),
                        Kinds::Custom => {
                            self.kept = self.kept.saturating_sub(open.text.len());
                            self.input(open.index, &custom::input(&open.text), out);
                        }
                        _ => {}
                    }
                }
            }
            Delta::Stop { stop, .. } => {
                self.sealed(out);
                self.chunk(Some(stop), out, |_| {});
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, block: u32, kind: Block<'_>, out: &mut Vec<u8>) {
        let (kind, index) = match kind {
            Block::Text => (Kinds::Text, 0),
            Block::Refusal => (Kinds::Refusal, 0),
            Block::Thinking => (Kinds::Thinking, 0),
            Block::Redacted(data) => {
                self.sealed.push((String::new(), Seal::of_redacted(data)));
                return;
            }
            Block::Call { id, name } if self.custom.iter().any(|custom| custom == name) => {
                let index = self.calls;
                self.calls += 1;
                self.chunk(None, out, |o| {
                    o.list("tool_calls", |list| {
                        list.object(|o| {
                            o.number("index", index);
                            custom_call(o, id, name, "");
                        });
                    });
                });
                (Kinds::Custom, index)
            }
            Block::Call { id, name } => {
                let index = self.calls;
                self.calls += 1;
                self.chunk(None, out, |o| {
                    o.list("tool_calls", |list| {
                        list.object(|o| {
                            o.number("index", index);
                            o.string("id", id);
                            o.string("type", "function");
                            o.object("function", |o| {
                                o.string("name", name);
                                o.string("arguments", "");
                            });
                        });
                    });
                });
                (Kinds::Call, index)
            }
        };
        self.open.push(Open { block, kind, index, empty: true, text: String::new(), seal: Seal::Open });
    }

    fn piece(&mut self, block: u32, text: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Some(open) = self.open.iter_mut().find(|open| open.block == block) else { return Ok(()) };
        open.empty = false;
        if matches!(open.kind, Kinds::Custom | Kinds::Thinking) {
            self.kept += text.len();
            if self.kept > MAX_KEPT_BYTES {
                return Err(TOO_MUCH);
            }
            open.text.push_str(text);
        }
        let (kind, index) = (open.kind, open.index);
        match kind {
            Kinds::Text => self.chunk(None, out, |o| o.string("content", text)),
            Kinds::Refusal => self.chunk(None, out, |o| o.string("refusal", text)),
            Kinds::Call => self.arguments(index, text, out),
            Kinds::Custom => {}
            Kinds::Thinking => self.chunk(None, out, |o| o.string("reasoning_content", text)),
        }
        Ok(())
    }

    fn input(&self, index: u64, text: &str, out: &mut Vec<u8>) {
        self.chunk(None, out, |o| {
            o.list("tool_calls", |list| {
                list.object(|o| {
                    o.number("index", index);
                    o.object("custom", |o| o.string("input", text));
                });
            });
        });
    }

    fn arguments(&self, index: u64, text: &str, out: &mut Vec<u8>) {
        self.chunk(None, out, |o| {
            o.list("tool_calls", |list| {
                list.object(|o| {
                    o.number("index", index);
                    o.object("function", |o| o.string("arguments", text));
                });
            });
        });
    }

    /// Writes all thoughts that have a proof, once: one client puts pieces of a field together, the other keeps the last.
    fn sealed(&mut self, out: &mut Vec<u8>) {
        let sealed = std::mem::take(&mut self.sealed);
        if sealed.is_empty() {
            return;
        }
        self.chunk(None, out, |o| {
            o.list("thinking_blocks", |list| {
                for (index, (text, seal)) in (0..).zip(&sealed) {
                    list.object(|o| {
                        o.number("index", index);
                        thinking_block(o, text, seal);
                    });
                }
            });
        });
    }

    pub(crate) fn end(&mut self, usage: Option<Usage>, out: &mut Vec<u8>) {
        if let (true, Some(usage)) = (self.include_usage, usage) {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(br#","choices":[],"usage":"#);
            json::object(out, |o| write_usage(o, usage));
            out.push(b'}');
            sse::end(out);
        }
        sse::write(out, "", b"[DONE]");
    }
}

pub(crate) fn fail(kind: Kind, message: &str, out: &mut Vec<u8>) {
    sse::write(out, "", &error_body(crate::Dialect::Chat, kind, message, None));
}
