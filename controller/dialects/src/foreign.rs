//! Finds the thinking of other providers in the history of a body that goes out in its caller's own protocol, so that it can
//! be cut out by its place: the provider would refuse a proof that it did not make. Every other byte stays, and what is left
//! is JSON. Turns thinking off where a model cannot go on without what was cut. Never looks at more than the history, and never decides about what it cannot read: that is the provider's affair.

use std::borrow::Cow;

use memchr::memmem;
use serde_json::value::RawValue;

use crate::dialect::Dialect;
use crate::fields::{Fields, items_of};
use crate::seal::{MARK, is_packed};

/// Thinking that an upstream takes back, beside its own provider's signed kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    /// Unsigned thinking (see `Target::unsigned`).
    pub unsigned: bool,
    /// Chat: what a server put beside a call (see `Target::extras`).
    pub extras: bool,
    /// Chat: `thinking_blocks` (see `Target::thinking_blocks`).
    pub blocks: bool,
    /// Messages: a model that thinks by a budget (see `Target::budgets`), and in a loop of tools only on from the thinking that
    /// began it.
    pub budgets: bool,
}

/// The first byte of a value, and the one behind its last.
pub(crate) type Place = (usize, usize);

/// The places of the thinking that this upstream does not take, in order and apart from each other. `history` is the value of
/// `messages` or `input` in the body.
pub(crate) fn cuts(dialect: Dialect, body: &[u8], history: &RawValue, takes: Takes) -> Vec<Place> {
    let mut cuts = Cuts { dialect, body, takes, found: Vec::new() };
    if cuts.is_possible(history) {
        cuts.list(history, |cuts, item| cuts.is_possible(item) && cuts.turn(item));
    }
    cuts.found
}

/// Finds the place of a value in the body that it was read from.
pub(crate) fn place(body: &[u8], raw: &RawValue) -> Place {
    let start = (raw.get().as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    (start, start + raw.get().len())
}

/// The changes that turn thinking off for a model that would have to go on from thinking which it does not get: the answer
/// whose calls have their results at the end began with another provider's. Empty if there is nothing to turn off.
pub(crate) fn off<'a>(
    body: &'a [u8],
    history: &'a RawValue,
    thinking: Option<&'a RawValue>,
    management: Option<&'a RawValue>,
    takes: Takes,
) -> Vec<(Place, Vec<u8>)> {
    let mut cuts = Cuts { dialect: Dialect::Messages, body, takes, found: Vec::new() };
    let Some(thinking) = thinking.filter(|raw| kind(raw).as_deref() == Some("enabled")) else { return Vec::new() };
    if !cuts.is_unled(history) {
        return Vec::new();
    }
    // Clearing old thoughts is only taken with thinking.
    if let Some(mut management) = management.and_then(Fields::of)
        && let Some(edits) = management.take("edits")
    {
        let clears = |edit: &RawValue| kind(edit).is_some_and(|kind| kind.starts_with("clear_thinking"));
        cuts.list(edits, |_, edit| clears(edit));
    }
    let off = (place(body, thinking), br#"{"type":"disabled"}"#.to_vec());
    cuts.found.into_iter().map(|place| (place, Vec::new())).chain([off]).collect()
}

/// The `type` of an object.
fn kind(raw: &RawValue) -> Option<Cow<'_, str>> {
    Fields::of(raw)?.text("type")
}

/// The content of a turn of Messages, if it is a list.
fn blocks(turn: &RawValue) -> Vec<&RawValue> {
    Fields::of(turn).and_then(|turn| turn.look("content")).map(items_of).unwrap_or_default()
}

struct Cuts<'a> {
    dialect: Dialect,
    body: &'a [u8],
    takes: Takes,
    found: Vec<Place>,
}

impl<'a> Cuts<'a> {
    /// False for what cannot hold thinking of others, and does not have to be read. No client escapes these words.
    fn is_possible(&self, raw: &RawValue) -> bool {
        let Takes { unsigned, extras, .. } = self.takes;
        let words: &[&str] = match (self.dialect, unsigned) {
            (Dialect::Chat, _) if extras && unsigned => &["\"thinking_blocks\""],
            (Dialect::Chat, _) => &["\"thinking_blocks\"", "\"reasoning", "\"extra_content\""],
            (Dialect::Messages | Dialect::Responses, true) => &[MARK],
            (Dialect::Messages, false) => &[MARK, "\"thinking\""],
            (Dialect::Responses, false) => &[MARK, "\"reasoning\""],
        };
        words.iter().any(|word| memmem::find(raw.get().as_bytes(), word.as_bytes()).is_some())
    }

    /// True if nothing of a turn would be left; else what does not stay in it is cut.
    fn turn(&mut self, raw: &'a RawValue) -> bool {
        let Some(mut fields) = Fields::of(raw) else { return false };
        let before = self.found.len();
        let goes = match self.dialect {
            Dialect::Responses => self.is_foreign_item(&mut fields),
            _ if fields.text("role").as_deref() != Some("assistant") => false,
            Dialect::Messages => self.answer_of_messages(&fields),
            Dialect::Chat => self.answer_of_chat(raw, fields),
        };
        if goes {
            self.found.truncate(before);
        }
        goes
    }

    /// An item of OpenAI's own has a proof or the name of one that it stored, which is `rs_` and one word.
    fn is_foreign_item(&self, item: &mut Fields<'a>) -> bool {
        if item.text("type").as_deref() != Some("reasoning") {
            return false;
        }
        match item.text("encrypted_content").filter(|text| !text.is_empty()) {
            Some(proof) => is_packed(&proof),
            None if self.takes.unsigned => false,
            None => item.text("id").is_some_and(|id| {
                id.strip_prefix("rs_").is_none_or(|word| !word.bytes().all(|byte| byte.is_ascii_alphanumeric()))
            }),
        }
    }

    fn answer_of_messages(&mut self, message: &Fields<'a>) -> bool {
        message.look("content").is_some_and(|content| self.list(content, |cuts, block| cuts.is_foreign_block(block)))
    }

    /// True if the history of Messages ends with results of an answer that begins with foreign thinking and nothing own.
    fn is_unled(&self, history: &'a RawValue) -> bool {
        let turns = items_of(history);
        let [.., answer, results] = turns.as_slice() else { return false };
        let said = blocks(answer);
        let own = said.iter().find(|block| !self.is_foreign_block(block)).and_then(|block| kind(block));
        blocks(results).iter().any(|block| kind(block).as_deref() == Some("tool_result"))
            && said.iter().any(|block| self.is_foreign_block(block))
            && !own.is_some_and(|kind| kind.ends_with("thinking"))
    }

    fn is_foreign_block(&self, raw: &RawValue) -> bool {
        let Some(mut block) = Fields::of(raw) else { return false };
        match block.text("type").as_deref() {
            Some("thinking") => match block.text("signature").filter(|text| !text.is_empty()) {
                Some(signature) => is_packed(&signature),
                // Blocks of Chat are another server's, which has them from a provider that signs.
                None => !self.takes.unsigned || self.dialect == Dialect::Chat,
            },
            Some("redacted_thinking") => block.text("data").is_some_and(|data| is_packed(&data)),
            _ => false,
        }
    }

    fn answer_of_chat(&mut self, raw: &'a RawValue, message: Fields<'a>) -> bool {
        let before = self.found.len();
        let mut values = Vec::new();
        let mut some_goes = false;
        let mut says = false;
        for (key, value) in message.entries() {
            let inner = self.found.len();
            let null = value.get() == "null";
            let goes = match key {
                _ if null => false,
                "thinking_blocks" if self.takes.blocks => self.list(value, |cuts, block| cuts.is_foreign_block(block)),
                "thinking_blocks" => true,
                "reasoning_content" | "reasoning" | "reasoning_details" => !self.takes.unsigned,
                "tool_calls" if !self.takes.extras => {
                    self.list(value, |cuts, call| {
                        cuts.beside_call(call);
                        false
                    });
                    false
                }
                _ => false,
            };
            if goes {
                self.found.truncate(inner);
            }
            some_goes |= goes;
            let empty = null || matches!(value.get(), "\"\"" | "[]");
            says |= !goes && !empty && !matches!(key, "role" | "name" | "annotations");
            values.push((place(self.body, value), goes));
        }
        if some_goes && !says {
            self.found.truncate(before);
            return true;
        }
        self.cut(place(self.body, raw), &values);
        false
    }

    /// Cuts what Gemini's servers put beside a call.
    fn beside_call(&mut self, raw: &'a RawValue) {
        let Some(call) = Fields::of(raw) else { return };
        let values: Vec<_> =
            call.entries().map(|(key, value)| (place(self.body, value), key == "extra_content")).collect();
        self.cut(place(self.body, raw), &values);
    }

    /// True if all items of a list go, and there are some; else those that go are cut.
    fn list(&mut self, raw: &'a RawValue, mut goes: impl FnMut(&mut Self, &'a RawValue) -> bool) -> bool {
        let items = items_of(raw);
        let values: Vec<_> = items.into_iter().map(|item| (place(self.body, item), goes(self, item))).collect();
        if !values.is_empty() && values.iter().all(|value| value.1) {
            // The list of all messages is emptied all the same: the provider says what is wrong then.
            self.cut(place(self.body, raw), &values);
            return true;
        }
        self.cut(place(self.body, raw), &values);
        false
    }

    /// Cuts the values that go out of a list or an object, each with its name and one comma.
    fn cut(&mut self, whole: Place, values: &[(Place, bool)]) {
        let (mut kept, mut last): (Option<usize>, Option<usize>) = (None, None);
        let begin = |kept: Option<usize>| kept.unwrap_or(whole.0 + 1);
        for ((_, end), goes) in values {
            if *goes {
                last = Some(*end);
                continue;
            }
            if let Some(last) = last.take() {
                let end = if kept.is_some() { last } else { self.behind_comma(last) };
                self.found.push((begin(kept), end));
            }
            kept = Some(*end);
        }
        if let Some(last) = last {
            self.found.push((begin(kept), last));
        }
    }

    fn behind_comma(&self, from: usize) -> usize {
        let rest = self.body.get(from..).unwrap_or_default();
        memchr::memchr(b',', rest).map_or(from, |comma| from + comma + 1)
    }
}
