//! Finds the places of a text that are worth a comparison, at the speed of a few searches for fixed texts. Pure.
//!
//! In a text with a value, one of two parts near the value's beginning stands there as it is, or there is an escape in the
//! first of them. So the texts to find are those parts, in each spelling, and the beginnings of escapes of the symbols in
//! them. Escapes that begin with `%` or `&` are few in most texts and found by that sign.

use std::collections::{BTreeMap, BTreeSet};

use aho_corasick::packed::{self, Searcher};
use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind, Span};
use memchr::memmem;

use crate::TooManyTexts;
use crate::places::{Pairs, Places};
use crate::spelling::Spelling;

/// Texts that one search finds at full speed.
const MAX_GROUP_TEXTS: usize = 32;
/// More values than fill these are looked for with a slower search for all of them.
pub(crate) const MAX_GROUPS: usize = 4;

/// The meaning of a text that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// A part of a spelling, by its number, and the number of the part's first symbol.
    Part(u32, usize),
    /// An escape such as `\u0041`, behind its backslash.
    Unicode,
}

/// Texts that are found in one search.
pub(crate) struct Group {
    search: Search,
    meanings: Vec<Vec<Anchor>>,
}

enum Search {
    Packed(Searcher),
    Automaton(AhoCorasick),
}

pub(crate) struct Anchors {
    pub(crate) groups: Vec<Group>,
    /// The symbols that an escape can stand for at a value's beginning, by the byte that is escaped.
    pub(crate) symbols: Places,
    /// The beginning of an escape such as `\x41`, where those are not looked at anyway.
    pub(crate) short_hex: Option<memmem::Finder<'static>>,
    /// True when one of them has an escape such as `\n` or `=3D`, of which all are looked at then.
    pub(crate) has_short_escapes: bool,
    /// True when one of them is beyond ASCII.
    pub(crate) is_wide: bool,
    /// The longest text.
    pub(crate) longest: usize,
    /// The two bytes that a value can begin with.
    pub(crate) pairs: Pairs,
}

impl Anchors {
    pub(crate) fn new(spellings: &[Spelling]) -> Result<Self, TooManyTexts> {
        let mut texts = BTreeMap::<Vec<u8>, Vec<Anchor>>::new();
        let (mut symbols, mut has_short_escapes, mut is_wide) = (Places::new(), false, false);
        let mut near_texts = BTreeSet::new();
        for (number, spelling) in (0..).zip(spellings) {
            let parts = spelling.parts();
            for part in parts.iter().filter(|part| !part.is_empty()) {
                for text in spelling.plain_texts(part.clone()) {
                    texts.entry(text).or_default().push(Anchor::Part(number, part.start));
                }
            }
            let near = spelling.symbols().get(..parts.first().map_or(0, |part| part.end)).unwrap_or_default();
            for (index, symbol) in (0..).zip(near) {
                for byte in spelling.bytes_of(*symbol) {
                    symbols.add(byte, (number, index));
                }
                is_wide |= !symbol.is_ascii();
                if !spelling.has_lines() {
                    near_texts.insert(*symbol);
                }
            }
            has_short_escapes |= spelling.has_short_escapes();
        }
        let has_plain_text = !has_short_escapes && spellings.iter().any(|spelling| !spelling.has_lines());
        if has_plain_text {
            for text in unicode_escapes(&near_texts) {
                texts.entry(text.into_bytes()).or_default().push(Anchor::Unicode);
            }
        }
        let short_hex = has_plain_text.then(|| memmem::Finder::new("\\x"));
        let longest = texts.keys().map(Vec::len).max().unwrap_or_default();
        let groups = Self::groups(&texts)?;
        Ok(Self { groups, symbols, short_hex, has_short_escapes, is_wide, longest, pairs: Pairs::new(spellings) })
    }

    fn groups(texts: &BTreeMap<Vec<u8>, Vec<Anchor>>) -> Result<Vec<Group>, TooManyTexts> {
        let groups = texts.len().div_ceil(MAX_GROUP_TEXTS);
        if groups > MAX_GROUPS {
            return Ok(vec![Group::new(&texts.iter().collect::<Vec<_>>(), false)?]);
        }
        let all: Vec<_> = texts.iter().collect();
        all.chunks(all.len().div_ceil(groups.max(1)).max(1)).map(|texts| Group::new(texts, true)).collect()
    }
}

/// The escapes such as `\u0041` of these characters, behind the backslash, and of those that begin another escape.
fn unicode_escapes(symbols: &BTreeSet<u8>) -> BTreeSet<String> {
    let mut escapes = BTreeSet::from(["u0025".to_owned(), "u005c".to_owned(), "u005C".to_owned()]);
    let has_name = [b'&', b'<', b'>'].iter().any(|symbol| symbols.contains(symbol));
    escapes.insert(if has_name { "u0026" } else { "u0026#" }.to_owned());
    for symbol in symbols {
        match symbol >> 4 {
            // Encoders escape the others that begin with these digits in ordinary text.
            2 | 3 => escapes.extend([format!("u00{symbol:02x}"), format!("u00{symbol:02X}")]),
            digit => escapes.extend([format!("u00{digit:x}")]),
        }
    }
    escapes
}

impl Group {
    fn new(texts: &[(&Vec<u8>, &Vec<Anchor>)], is_packed: bool) -> Result<Self, TooManyTexts> {
        // The longest text at a place is found, which may begin with shorter ones.
        let meaning = |text: &[u8]| texts.binary_search_by(|(other, _)| other.as_slice().cmp(text)).ok();
        let meanings = texts.iter().map(|(text, _)| {
            let begins = (1..=text.len()).filter_map(|length| text.get(..length)).filter_map(meaning);
            begins.filter_map(|place| texts.get(place)).flat_map(|(_, anchors)| anchors.iter().copied()).collect()
        });
        let meanings = meanings.collect();
        let plain = || texts.iter().map(|(text, _)| text.as_slice());
        let packed =
            || packed::Config::new().match_kind(packed::MatchKind::LeftmostLongest).builder().extend(plain()).build();
        if let Some(searcher) = is_packed.then(packed).flatten() {
            return Ok(Self { search: Search::Packed(searcher), meanings });
        }
        let kind = Some(AhoCorasickKind::ContiguousNFA);
        let build = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).kind(kind).build(plain());
        let automaton = build.map_err(|e| TooManyTexts(e.to_string()))?;
        Ok(Self { search: Search::Automaton(automaton), meanings })
    }

    /// The next place from a position on, and the anchors there.
    pub(crate) fn find(&self, data: &[u8], from: usize) -> Option<(usize, &[Anchor])> {
        let found = match &self.search {
            Search::Packed(searcher) => searcher.find_in(data, Span { start: from, end: data.len() }),
            Search::Automaton(automaton) => automaton.find(Input::new(data).range(from..)),
        }?;
        Some((found.start(), self.meanings.get(found.pattern().as_usize()).map_or(&[], Vec::as_slice)))
    }
}
