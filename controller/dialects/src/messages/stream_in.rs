//! Reads the events of a message's stream. Events and deltas of unknown kinds are passed over, as the provider asks of
//! clients.

use crate::answer::Stop;
use crate::error::{Failure, Kind};
use crate::fields::Fields;
use crate::messages::answer::usage;
use crate::request::Seal;
use crate::sse::Event;
use crate::stream::{Block, Delta, Fault, MAX_BLOCKS, MAX_KEPT_BYTES, TOO_MUCH};

#[derive(Debug, Default)]
pub(crate) struct Reader {
    next: u32,
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    index: u64,
    /// None for blocks that are passed over.
    block: Option<u32>,
    thinking: bool,
    signature: String,
    /// The input that the start already had; it counts where no piece follows.
    input: String,
}

impl Reader {
    pub(crate) fn event(&mut self, event: Event<'_>, each: &mut impl FnMut(Delta<'_>)) -> Result<(), Fault> {
        if event.name == "ping" || event.is_done() {
            return Ok(());
        }
        let Some(mut fields) = Fields::tolerant(event.data.as_bytes()) else {
            return Err(Fault(Kind::Api, "The upstream sent an event that is no JSON object."));
        };
        let kind = fields.text("type");
        match kind.as_deref().unwrap_or(event.name) {
            "message_start" => {
                let Some(mut message) = fields.child("message") else { return Ok(()) };
                if let Some(usage) = message.child("usage").and_then(usage) {
                    each(Delta::Usage(usage));
                }
                let (id, model) = (message.text("id").unwrap_or_default(), message.text("model").unwrap_or_default());
                each(Delta::Start { id: &id, model: &model });
            }
            "content_block_start" => self.start(fields, each)?,
            "content_block_delta" => self.delta(fields, each)?,
            "content_block_stop" => {
                let index = fields.count("index").unwrap_or_default();
                self.stop(index, each);
            }
            "message_delta" => {
                if let Some(usage) = fields.child("usage").and_then(usage) {
                    each(Delta::Usage(usage));
                }
                let Some(mut delta) = fields.child("delta") else { return Ok(()) };
                if let Some(word) = delta.text("stop_reason").filter(|word| !word.is_empty()) {
                    let sequence = delta.text("stop_sequence");
                    each(Delta::Stop { stop: Stop::of_messages(&word), sequence: sequence.as_deref() });
                }
            }
            "message_stop" => self.end(each)?,
            "error" => each(Delta::Failed(Failure::of_fields(fields, Kind::Api))),
            _ => {}
        }
        Ok(())
    }

    /// Ends an answer that has its reason to stop.
    pub(crate) fn end(&mut self, each: &mut impl FnMut(Delta<'_>)) -> Result<(), Fault> {
        self.open.drain(..).for_each(|open| close(open, each));
        each(Delta::End);
        Ok(())
    }

    fn start(&mut self, mut fields: Fields<'_>, each: &mut impl FnMut(Delta<'_>)) -> Result<(), Fault> {
        let index = fields.count("index").unwrap_or_default();
        // A second start of an index is the end of the first.
        self.stop(index, each);
        if self.open.len() >= MAX_BLOCKS as usize {
            return Err(TOO_MUCH);
        }
        let Some(mut block) = fields.child("content_block") else { return Ok(()) };
        let kind = block.text("type").unwrap_or_default();
        let number = self.next + 1;
        let open = |each: &mut dyn FnMut(Delta<'_>), kind| each(Delta::Open { block: number, kind });
        let mut input = String::new();
        let mut known = true;
        match kind.as_ref() {
            "text" => open(each, Block::Text),
            "thinking" => open(each, Block::Thinking),
            "redacted_thinking" => open(each, Block::Redacted(&block.text("data").unwrap_or_default())),
            "tool_use" => {
                let (Some(id), Some(name)) = (block.text("id"), block.text("name")) else {
                    return Err(Fault(Kind::Api, "The upstream sent a tool call without an id or a name."));
                };
                let raw = block.look("input").map_or("", |raw| raw.get());
                if !matches!(raw, "{}" | "\"\"") {
                    raw.clone_into(&mut input);
                }
                open(each, Block::Call { id: &id, name: &name });
            }
            // What the provider's own tools do is told in the text.
            _ => known = false,
        }
        let first = block.chars(if kind == "thinking" { "thinking" } else { "text" });
        let signature = block.text("signature").unwrap_or_default().into_owned();
        self.next = number;
        let thinking = kind == "thinking";
        self.open.push(Open { index, block: known.then_some(number), thinking, signature, input });
        if let (Some(text), true) = (first, known) {
            text.give(number, each);
        }
        Ok(())
    }

    fn delta(&mut self, mut fields: Fields<'_>, each: &mut impl FnMut(Delta<'_>)) -> Result<(), Fault> {
        let index = fields.count("index").unwrap_or_default();
        let Some(mut delta) = fields.child("delta") else { return Ok(()) };
        if !self.open.iter().any(|open| open.index == index) {
            // The event that begins it did not come. A call cannot be begun without its name.
            let (kind, thinking) = match delta.text("type").as_deref() {
                Some("text_delta") => (Block::Text, false),
                Some("thinking_delta") => (Block::Thinking, true),
                _ => return Ok(()),
            };
            self.next += 1;
            let (signature, input) = (String::new(), String::new());
            self.open.push(Open { index, block: Some(self.next), thinking, signature, input });
            each(Delta::Open { block: self.next, kind });
        }
        let Some(open) = self.open.iter_mut().rfind(|open| open.index == index) else { return Ok(()) };
        let Some(block) = open.block else { return Ok(()) };
        let key = match delta.text("type").as_deref() {
            Some("text_delta") => "text",
            Some("thinking_delta") => "thinking",
            Some("input_json_delta") => {
                open.input.clear();
                "partial_json"
            }
            Some("signature_delta") => {
                let signature = delta.text("signature").unwrap_or_default();
                if open.signature.len() + signature.len() > MAX_KEPT_BYTES {
                    return Err(TOO_MUCH);
                }
                open.signature.push_str(&signature);
                return Ok(());
            }
            _ => return Ok(()),
        };
        if let Some(text) = delta.chars(key) {
            text.give(block, each);
        }
        Ok(())
    }

    fn stop(&mut self, index: u64, each: &mut impl FnMut(Delta<'_>)) {
        if let Some(at) = self.open.iter().position(|open| open.index == index) {
            close(self.open.remove(at), each);
        }
    }
}

fn close(open: Open, each: &mut impl FnMut(Delta<'_>)) {
    let Some(block) = open.block else { return };
    if !open.input.is_empty() {
        each(Delta::Piece { block, text: &open.input });
    }
    if open.thinking && !open.signature.is_empty() {
        each(Delta::Seal { block, seal: Seal::of_signature(&open.signature) });
    }
    each(Delta::Close { block });
}
