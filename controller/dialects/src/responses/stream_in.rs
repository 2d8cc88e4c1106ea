//! Reads the events of a response's stream. Events of unknown kinds are passed over; where a server leaves the pieces away,
//! the whole in the event that ends an item counts.

use crate::answer::Stop;
use crate::chars::Chars;
use crate::error::{Failure, Kind};
use crate::fields::Fields;
use crate::request::Seal;
use crate::responses::answer::{stop, usage};
use crate::sse::Event;
use crate::stream::{Block, Delta, Fault, MAX_BLOCKS, TOO_MUCH};

#[derive(Debug, Default)]
pub(crate) struct Reader {
    next: u32,
    open: Vec<Open>,
    /// Places of texts whose item is not over: output and content.
    told: Vec<(u64, u64)>,
    /// A text or refusal has come.
    spoke: bool,
    called: bool,
}

#[derive(Debug)]
struct Open {
    output: u64,
    content: u64,
    block: u32,
    what: What,
    empty: bool,
    /// The last part of a thought's summary that was begun.
    part: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Text,
    Refusal,
    Thinking,
    Call,
}

impl Reader {
    pub(crate) fn event(&mut self, event: Event<'_>, each: &mut impl FnMut(Delta<'_>)) -> Result<(), Fault> {
        if event.is_done() {
            return Ok(());
        }
        let Some(mut fields) = Fields::tolerant(event.data.as_bytes()) else {
            return Err(Fault(Kind::Api, "The upstream sent an event that is no JSON object."));
        };
        let kind = fields.text("type");
        match kind.as_deref().unwrap_or(event.name) {
            "response.created" | "response.in_progress" | "response.queued" => {
                let Some(mut response) = fields.child("response") else { return Ok(()) };
                let (id, model) = (response.text("id").unwrap_or_default(), response.text("model").unwrap_or_default());
                each(Delta::Start { id: &id, model: &model });
            }
            "response.output_item.added" => self.item_added(fields, each)?,
            "response.content_part.added" => self.part_added(fields, each)?,
            "response.output_text.delta" => self.piece(fields, What::Text, "delta", each)?,
            "response.refusal.delta" => self.piece(fields, What::Refusal, "delta", each)?,
            "response.function_call_arguments.delta" => self.piece(fields, What::Call, "delta", each)?,
            "response.reasoning_summary_text.delta"
            | "response.reasoning_text.delta"
            | "response.reasoning_summary.delta"
            | "response.reasoning.delta" => self.thought(fields, each)?,
            "response.output_text.done" => self.whole(fields, What::Text, "text", each)?,
            "response.refusal.done" => self.whole(fields, What::Refusal, "refusal", each)?,
            "response.function_call_arguments.done" => self.whole(fields, What::Call, "arguments", each)?,
            "response.output_item.done" => self.item_done(fields, each)?,
            "response.completed" | "response.incomplete" | "response.done" => self.finish(fields, each)?,
            "response.failed" | "response.cancelled" => {
                let response = fields.child("response");
                each(Delta::Failed(Failure::of_fields(response.unwrap_or(fields), Kind::Api)));
            }
            "error" => each(Delta::Failed(Failure::of_fields(fields, Kind::Api))),
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, mut fields: Fields<'_>, each: &mut impl FnMut(Delta<'_>)) -> Result<(), Fault> {
        let Some(mut response) = fields.child("response") else {
            return self.end(each);
        };
        if let Some(usage) = response.child("usage").and_then(usage) {
            each(Delta::Usage(usage));
        }
        if response.look("error").is_some() {
            each(Delta::Failed(Failure::of_fields(response, Kind::Api)));
            return Ok(());
        }
        // A server that sends no items of a kind before has them here.
        let (spoke, called) = (self.spoke, self.called);
        for (output, mut item) in (0..).zip(response.items("output").into_iter().filter_map(Fields::of)) {
            let missed = match item.text("type").as_deref() {
                Some("message") => !spoke,
                Some("function_call") => !called,
                _ => false,
            };
            if missed {
                self.item_whole(output, item, each)?;
            }
        }
        let stop: Stop = stop(&mut response, self.called);
        each(Delta::Stop { stop, sequence: None });
        self.end(each)
    }

    /// Ends an answer that has its reason to stop.
    pub(crate) fn end(&mut self, each: &mut impl FnMut(Delta<'_>)) -> Result<(), Fault> {
        self.open.drain(..).for_each(|open| each(Delta::Close { block: open.block }));
        each(Delta::End);
        Ok(())
    }

    fn find(&mut self, what: What, output: u64, content: u64) -> Option<&mut Open> {
        let same = |open: &&mut Open| open.what == what && open.output == output && open.content == content;
        self.open.iter_mut().find(same)
    }

    fn add(
        &mut self,
        what: What,
        (output, content): (u64, u64),
        kind: Block<'_>,
        each: &mut impl FnMut(Delta<'_>),
    ) -> Result<u32, Fault> {
        if self.open.len() >= MAX_BLOCKS as usize {
            return Err(TOO_MUCH);
        }
        self.next += 1;
        self.open.push(Open { output, content, block: self.next, what, empty: true, part: 0 });
        each(Delta::Open { block: self.next, kind });
        Ok(self.next)
    }

    fn item_added(&mut self, mut fields: Fields<'_>, each: &mut impl FnMut(Delta<'_>)) -> Result<(), Fault> {
        let output = fields.count("output_index").unwrap_or_default();
        let Some(mut item) = fields.child("item") else { return Ok(()) };
        match item.text("type").as_deref() {
            Some("function_call") => {
                self.close(output, each);
                self.call(output, &mut item, each)?;
            }
            Some("reasoning") => {
                self.close(output, each);
                self.add(What::Thinking, (output, 0), Block::Thinking, each)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn call(&mut self, output: u64, item: &mut Fields<'_>, each: &mut impl FnMut(Delta<'_>)) -> Result<u32, Fault> {
        let (Some(id), Some(name)) = (item.text("call_id"), item.text("name")) else {
            return Err(Fault(Kind::Api, "The upstream sent a tool call without an id or a name."));
        };
        self.called = true;
        self.add(What::Call, (output, 0), Block::Call { id: &id, name: &name }, each)
    }

    fn part_added(&mut self, mut fields: Fields<'_>, each: &mut impl FnMut(Delta<'_>)) -> Result<(), Fault> {
        let at = place(&mut fields);
        let kind = fields.child("part").and_then(|mut part| part.text("type"));
        match kind.as_deref() {
            Some("output_text") if self.find(What::Text, at.0, at.1).is_none() => {
                self.add(What::Text, at, Block::Text, each)?;
            }
            Some("refusal") if self.find(What::Refusal, at.0, at.1).is_none() => {
                self.add(What::Refusal, at, Block::Refusal, each)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn piece(
        &mut self,
        mut fields: Fields<'_>,
        what: What,
        key: &str,
        each: &mut impl FnMut(Delta<'_>),
    ) -> Result<(), Fault> {
        let at = place(&mut fields);
        match fields.chars(key) {
            Some(text) => self.say(what, at, &text, each),
            None => Ok(()),
        }
    }

    fn say(
        &mut self,
        what: What,
        at: (u64, u64),
        text: &Chars<'_>,
        each: &mut impl FnMut(Delta<'_>),
    ) -> Result<(), Fault> {
        if text.is_empty() {
            return Ok(());
        }
        if matches!(what, What::Text | What::Refusal) {
            self.spoke = true;
            if !self.told.contains(&at) {
                self.told.push(at);
            }
        }
        if let Some(open) = self.find(what, at.0, at.1) {
            open.empty = false;
            text.give(open.block, each);
            return Ok(());
        }
        // The event that begins it did not come. A call cannot be begun without its name.
        let block = match what {
            What::Text => self.add(what, at, Block::Text, each)?,
            What::Refusal => self.add(what, at, Block::Refusal, each)?,
            What::Thinking => self.add(what, at, Block::Thinking, each)?,
            What::Call => return Ok(()),
        };
        text.give(block, each);
        if let Some(open) = self.open.last_mut() {
            open.empty = false;
        }
        Ok(())
    }

    /// The whole text counts where no piece came.
    fn whole(
        &mut self,
        mut fields: Fields<'_>,
        what: What,
        key: &str,
        each: &mut impl FnMut(Delta<'_>),
    ) -> Result<(), Fault> {
        let at = place(&mut fields);
        let missed = match self.find(what, at.0, at.1) {
            Some(open) => open.empty,
            None => what != What::Call && !self.told.contains(&at),
        };
        if missed {
            self.piece(fields, what, key, each)?;
        }
        if what != What::Call
            && let Some(at) = self.open.iter().position(|open| open.what == what && (open.output, open.content) == at)
        {
            each(Delta::Close { block: self.open.remove(at).block });
        }
        Ok(())
    }

    fn thought(&mut self, mut fields: Fields<'_>, each: &mut impl FnMut(Delta<'_>)) -> Result<(), Fault> {
        let output = fields.count("output_index").unwrap_or_default();
        let part = fields.count("summary_index").unwrap_or_default();
        let Some(text) = fields.chars("delta").filter(|text| !text.is_empty()) else { return Ok(()) };
        let block = match self.find(What::Thinking, output, 0) {
            Some(open) => {
                if open.part != part && !std::mem::replace(&mut open.empty, false) {
                    each(Delta::Piece { block: open.block, text: "\n\n" });
                }
                open.part = part;
                open.empty = false;
                open.block
            }
            None => {
                let block = self.add(What::Thinking, (output, 0), Block::Thinking, each)?;
                if let Some(open) = self.open.last_mut() {
                    (open.part, open.empty) = (part, false);
                }
                block
            }
        };
        text.give(block, each);
        Ok(())
    }

    fn item_done(&mut self, mut fields: Fields<'_>, each: &mut impl FnMut(Delta<'_>)) -> Result<(), Fault> {
        let output = fields.count("output_index").unwrap_or_default();
        match fields.child("item") {
            Some(item) => self.item_whole(output, item, each),
            None => Ok(()),
        }
    }

    /// An item that is over: what of it came in pieces is not given again.
    fn item_whole(&mut self, output: u64, mut item: Fields<'_>, each: &mut impl FnMut(Delta<'_>)) -> Result<(), Fault> {
        match item.text("type").as_deref() {
            Some("message") => {
                let mine = self.told.iter().any(|place| place.0 == output);
                // Servers that give their pieces no place, or another one, have told it too.
                if self.told.is_empty() {
                    for (content, mut part) in (0..).zip(item.items("content").into_iter().filter_map(Fields::of)) {
                        let (what, key) = match part.text("type").as_deref() {
                            Some("output_text") => (What::Text, "text"),
                            Some("refusal") => (What::Refusal, "refusal"),
                            _ => continue,
                        };
                        if let Some(text) = part.chars(key) {
                            self.say(what, (output, content), &text, each)?;
                        }
                    }
                    self.told.clear();
                }
                self.told.retain(|place| mine && place.0 != output);
            }
            Some("function_call") => {
                let known = self.find(What::Call, output, 0).map(|open| (open.block, open.empty));
                let (block, empty) = match known {
                    Some(known) => known,
                    None => (self.call(output, &mut item, each)?, true),
                };
                if let (Some(text), true) = (item.chars("arguments"), empty) {
                    text.give(block, each);
                }
            }
            Some("reasoning") => {
                let known = self.find(What::Thinking, output, 0).map(|open| (open.block, open.empty));
                let (block, empty) = match known {
                    Some(known) => known,
                    None => (self.add(What::Thinking, (output, 0), Block::Thinking, each)?, true),
                };
                if empty {
                    thought(&mut item, block, each);
                }
                let id = item.text("id").unwrap_or_default();
                match Seal::of_item(&id, item.text("encrypted_content").as_deref()) {
                    Seal::Open => {}
                    seal @ (Seal::Redacted(_) | Seal::Extra { .. }) => {
                        self.close(output, each);
                        self.next += 1;
                        let data = seal.redacted().unwrap_or_default();
                        each(Delta::Open { block: self.next, kind: Block::Redacted(&data) });
                        each(Delta::Close { block: self.next });
                    }
                    seal => each(Delta::Seal { block, seal }),
                }
            }
            _ => {}
        }
        self.close(output, each);
        Ok(())
    }

    fn close(&mut self, output: u64, each: &mut impl FnMut(Delta<'_>)) {
        self.open.retain(|open| {
            let stays = open.output != output;
            if !stays {
                each(Delta::Close { block: open.block });
            }
            stays
        });
    }
}

/// Gives the whole text of a thought, of which no piece came.
fn thought(item: &mut Fields<'_>, block: u32, each: &mut impl FnMut(Delta<'_>)) {
    let parts = item.items("summary").into_iter().chain(item.items("content"));
    let texts = parts.filter_map(Fields::of).filter_map(|mut part| part.text("text").filter(|text| !text.is_empty()));
    for (index, text) in texts.enumerate() {
        if index > 0 {
            each(Delta::Piece { block, text: "\n\n" });
        }
        each(Delta::Piece { block, text: &text });
    }
}

fn place(fields: &mut Fields<'_>) -> (u64, u64) {
    (fields.count("output_index").unwrap_or_default(), fields.count("content_index").unwrap_or_default())
}
