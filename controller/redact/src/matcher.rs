//! Finds values in a text by any of their spellings: each character as it is or escaped by rule, or all of them in base64
//! or hex. Fast searches find the places that could be one; only those are compared character by character. Pure.
//!
//! A spelling is met in one of three ways. Its first [`ANCHOR`] symbols stand there as they are; or before that comes the
//! first escape; or, in base64 and hex, the end of a line. So there are three searches, and each looks at what stands
//! before the place that it finds.

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};

use crate::escape::{Code, Escape, begins_escape, escape};
use crate::places::{Place, Places};
use crate::replace::{MAX_INSERTED_BYTES, Replacement, insert};
use crate::spelling::{Spelling, Steps, Verdict, is_break, spellings};
use crate::{Forbidden, TooManyTexts};

/// Symbols of a spelling that are searched for as they are.
const ANCHOR: usize = 8;
/// Steps of comparison for any text, besides those for each of its bytes.
const FREE_STEPS: u64 = 1 << 24;

/// The steps for a text of this length.
pub(crate) fn steps(bytes: usize) -> Steps {
    let mut steps = Steps(FREE_STEPS);
    steps.add(bytes);
    steps
}

/// Digits in hexadecimal.
enum Digits {
    Are(u32),
    /// The text ends between them.
    Open,
    No,
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The values to look for.
pub struct Matcher {
    spellings: Vec<Spelling>,
    anchors: AhoCorasick,
    /// The spellings that each anchor may begin.
    begun: Vec<Vec<u32>>,
    /// Symbols near a spelling's beginning, by the byte that they are.
    symbols: Places,
    /// The same for symbols that an end of a line can stand before, by the byte of the symbol before.
    after: Places,
    /// All symbols near beginnings.
    all: Vec<Place>,
    /// True at the bytes for which an escape may matter.
    matters: Vec<bool>,
    /// True when a symbol near a beginning is beyond ASCII.
    is_wide: bool,
    /// The longest beginning of a spelling that an anchor needs.
    reach: usize,
}

/// A place where a value is, or may turn out to be once there is more of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Event {
    start: usize,
    /// `None`: it may turn out to be.
    end: Option<usize>,
    value: usize,
}

impl Event {
    /// The one that counts: the first, then the one that is open, then the longest.
    fn before(self, other: Self) -> bool {
        let key = |event: &Self| (event.start, event.end.map_or(0, |end| usize::MAX - end));
        key(&self) < key(&other)
    }
}

fn first(events: impl IntoIterator<Item = Option<Event>>) -> Option<Event> {
    events.into_iter().flatten().reduce(|best, event| if event.before(best) { event } else { best })
}

/// A text that is searched.
struct Search<'a> {
    matcher: &'a Matcher,
    data: &'a [u8],
    /// No more of the text follows.
    last: bool,
    steps: &'a mut Steps,
}

impl Matcher {
    /// Looks for each value in all spellings. Values are known by their place in the list.
    ///
    /// # Errors
    /// More values than the automaton can hold.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, TooManyTexts> {
        let values = values.into_iter().enumerate().filter(|(_, value)| !value.is_empty());
        Self::of(values.flat_map(|(number, value)| spellings(value, number)).collect())
    }

    fn of(spellings: Vec<Spelling>) -> Result<Self, TooManyTexts> {
        let (mut symbols, mut after, mut all, mut reach) = (Places::new(), Places::new(), Vec::new(), 0);
        let mut beginnings = BTreeMap::<Vec<u8>, Vec<u32>>::new();
        for (number, spelling) in (0..).zip(&spellings) {
            let (own, length) = spelling.beginnings(ANCHOR);
            reach = reach.max(length);
            for beginning in own {
                beginnings.entry(beginning).or_default().push(number);
            }
            let near = spelling.symbols().get(..length).unwrap_or_default();
            for (index, symbol) in (0..).zip(near) {
                all.push((number, index));
                for byte in spelling.bytes_of(*symbol) {
                    symbols.add(byte, (number, index));
                    if spelling.has_lines() && usize::from(index) + 1 < length {
                        after.add(byte, (number, index + 1));
                    }
                }
            }
        }
        // The longest anchor at a place is found, which may begin what shorter ones begin.
        let begun = beginnings.keys().map(|anchor| {
            let shorter = (1..=anchor.len()).filter_map(|length| anchor.get(..length));
            shorter.filter_map(|shorter| beginnings.get(shorter)).flatten().copied().collect()
        });
        let begun = begun.collect();
        let kind = Some(AhoCorasickKind::ContiguousNFA);
        let build = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).kind(kind).build(beginnings.keys());
        let anchors = build.map_err(|e| TooManyTexts(e.to_string()))?;
        let beyond = |byte: u8| !byte.is_ascii() && [0xc2, 0xc3].iter().any(|lead| !symbols.of(*lead).is_empty());
        let matters = |byte: u8| !symbols.of(byte).is_empty() || beyond(byte) || begins_escape(byte);
        let matters = (0..=255).map(matters).collect();
        let is_wide = (128..=255).any(|byte| !symbols.of(byte).is_empty());
        Ok(Self { spellings, anchors, begun, symbols, after, all, matters, is_wide, reach })
    }

    /// True when a header's name holds a value in any spelling, in upper or lower case.
    pub fn is_in_name(&self, name: &[u8]) -> bool {
        let mut steps = steps(name.len());
        self.spellings.iter().any(|spelling| {
            let starts = (name.len() + 1).saturating_sub(spelling.len());
            (0..starts).any(|start| {
                let found = spelling.compare(name, start, true, &mut steps);
                matches!(found, Verdict::Ends(_) | Verdict::Open(Some(_)))
            })
        }) || steps.0 == 0
    }

    /// Replaces the values in `data`, which is whole. None: there is nothing to replace.
    ///
    /// # Errors
    /// More is put in than fits, or the text resembles a value too much to be searched.
    pub fn replace_all(&self, with: &[Replacement], data: &[u8]) -> Result<Option<Vec<u8>>, Forbidden> {
        let mut room = MAX_INSERTED_BYTES;
        Ok(self.replace(with, data, true, &mut room, &mut steps(data.len()))?.0)
    }

    /// `data` with the values replaced, up to the position at which the rest has to be held back, and that position.
    /// `None`: there is nothing to replace.
    pub(crate) fn replace(
        &self,
        with: &[Replacement],
        data: &[u8],
        last: bool,
        room: &mut usize,
        steps: &mut Steps,
    ) -> Result<(Option<Vec<u8>>, usize), Forbidden> {
        let mut search = Search { matcher: self, data, last, steps };
        let (mut output, mut done) = (None::<Vec<u8>>, 0);
        let mut found = search.all(0);
        let hold = loop {
            let next = first(found);
            if search.steps.0 == 0 {
                return Err(Forbidden("The text resembles a secret in too many places to be searched.".to_owned()));
            }
            let Some(Event { start, end, value }) = next else { break data.len() };
            let Some(end) = end else { break start };
            let replacement = match with.get(value) {
                Some(Ok(replacement)) => replacement.as_slice(),
                Some(Err(why)) => return Err(Forbidden(why.clone())),
                None => &[],
            };
            insert(replacement, room)?;
            let output = output.get_or_insert_with(|| Vec::with_capacity(data.len()));
            output.extend_from_slice(data.get(done..start).unwrap_or_default());
            output.extend_from_slice(replacement);
            done = end;
            search.again(&mut found, done);
        };
        if let Some(output) = &mut output {
            output.extend_from_slice(data.get(done..hold).unwrap_or_default());
        }
        Ok((output, hold))
    }
}

impl Search<'_> {
    /// The first event of each search, from a position on.
    fn all(&mut self, from: usize) -> [Option<Event>; 4] {
        [self.anchored(from), self.escaped(from), self.broken(from), self.cut(from)]
    }

    /// The same, where the position has moved on.
    fn again(&mut self, found: &mut [Option<Event>; 4], from: usize) {
        type One<'a> = fn(&mut Search<'a>, usize) -> Option<Event>;
        let searches: [One<'_>; 4] = [Self::anchored, Self::escaped, Self::broken, Self::cut];
        for (event, search) in found.iter_mut().zip(searches) {
            if event.is_some_and(|event| event.start < from) {
                *event = search(self, from);
            }
        }
    }

    fn judge(&mut self, number: u32, start: usize) -> Option<Event> {
        let spelling = self.matcher.spellings.get(number as usize)?;
        let value = spelling.value;
        match spelling.compare(self.data, start, false, self.steps) {
            Verdict::Open(_) if !self.last => Some(Event { start, end: None, value }),
            Verdict::Open(Some(end)) | Verdict::Ends(end) => Some(Event { start, end: Some(end), value }),
            Verdict::Open(None) | Verdict::No => None,
        }
    }

    /// The event of the spellings whose symbol of that number is at a position.
    fn places(&mut self, places: &[Place], at: usize, from: usize) -> Option<Event> {
        let mut best = None;
        for (number, symbol) in places {
            let Some(start) = at.checked_sub(usize::from(*symbol)).filter(|start| *start >= from) else { continue };
            // What stands before is there as it is.
            let begins = |byte: &u8| self.matcher.spellings.get(*number as usize).is_some_and(|s| s.begins_with(*byte));
            if start == at || self.data.get(start).is_some_and(begins) {
                best = first([best, self.judge(*number, start)]);
            }
        }
        best
    }

    /// Spellings that begin with an anchor.
    fn anchored(&mut self, mut from: usize) -> Option<Event> {
        let matcher = self.matcher;
        while from < self.data.len() {
            let found = matcher.anchors.find(Input::new(self.data).range(from..))?;
            let begun = matcher.begun.get(found.pattern().as_usize()).map_or(&[][..], Vec::as_slice);
            let mut best = None;
            for number in begun {
                best = first([best, self.judge(*number, found.start())]);
            }
            if best.is_some() {
                return best;
            }
            from = found.start() + 1;
        }
        None
    }

    /// False for most escapes of ordinary text, at little cost.
    fn may_matter(&self, at: usize, from: usize) -> bool {
        let byte = |offset: usize| at.checked_add(offset).and_then(|at| self.data.get(at)).copied();
        let matters = |byte: u8| self.matcher.matters.get(usize::from(byte)) == Some(&true);
        let breaks = || {
            let before = at.checked_sub(1).filter(|before| *before >= from).and_then(|before| self.data.get(before));
            before.is_some_and(|before| !self.matcher.after.of(*before).is_empty())
        };
        let wanted = |byte: u8| !self.matcher.symbols.of(byte).is_empty();
        let digits = |from: usize, to: usize| {
            let mut number = 0_u32;
            for offset in from..to {
                match byte(offset) {
                    None => return Digits::Open,
                    Some(digit) => match hex(digit) {
                        Some(digit) => number = number << 4 | u32::from(digit),
                        None => return Digits::No,
                    },
                }
            }
            Digits::Are(number)
        };
        let number = |digits: Digits| match digits {
            Digits::Open => true,
            Digits::No => false,
            Digits::Are(number) => match u8::try_from(number) {
                Ok(code) => matters(code) || (is_break(code) && breaks()),
                Err(_) => self.matcher.is_wide,
            },
        };
        let (Some(introducer), Some(next)) = (byte(0), byte(1)) else { return true };
        match (introducer, next) {
            (b'%', b'u') => true,
            (b'%', _) => number(digits(1, 3)),
            (b'\\', b'u') => number(digits(2, 6)),
            (b'\\', b'x') => number(digits(2, 4)),
            (b'\\', b'\\') if !wanted(b'\\') => match byte(2) {
                None | Some(b'\\' | b't' | b'b' | b'f') => true,
                Some(b'u') => number(digits(3, 7)),
                Some(b'x') => number(digits(3, 5)),
                Some(b'n' | b'r') => wanted(b'\n') || wanted(b'\r') || breaks(),
                Some(third) => matters(third),
            },
            (b'\\', b'\\') => true,
            (b'\\', b'n' | b'r') => wanted(b'\n') || wanted(b'\r') || breaks(),
            (b'\\', b't' | b'b' | b'f') => wanted(b'\t') || wanted(8) || wanted(12),
            (b'\\', next) => wanted(next),
            // The sign itself, or the beginning of an escape that is escaped.
            (_, b'a') if byte(2) == Some(b'm') && !wanted(b'&') => {
                byte(5).is_none_or(|byte| matches!(byte, b'#' | b'a' | b'l' | b'g' | b'q'))
            }
            (_, b'l') => wanted(b'<'),
            (_, b'g') => wanted(b'>'),
            (_, b'q') => wanted(b'"'),
            (_, next) => matches!(next, b'#' | b'a'),
        }
    }

    /// Spellings with an escape near their beginning.
    fn escaped(&mut self, from: usize) -> Option<Event> {
        let (matcher, data) = (self.matcher, self.data);
        let rest = data.get(from..)?;
        for at in memchr::memchr3_iter(b'%', b'\\', b'&', rest) {
            let at = from + at;
            if !self.may_matter(at, from) {
                continue;
            }
            let mut best = None;
            for depth in [1, 2] {
                match escape(data, at, depth) {
                    Escape::Is(code, _) => {
                        let (one, other) = match code {
                            Code::Byte(byte) => (Some(byte), None),
                            Code::Char(char) => (char.encode_utf8(&mut [0; 4]).as_bytes().first().copied(), None),
                            Code::Either(byte) => {
                                (Some(byte), char::from(byte).encode_utf8(&mut [0; 2]).as_bytes().first().copied())
                            }
                        };
                        for byte in [one, other].into_iter().flatten() {
                            best = first([best, self.places(matcher.symbols.of(byte), at, from)]);
                        }
                        if one.is_some_and(is_break) {
                            best = first([best, self.behind(at, from)]);
                        }
                    }
                    Escape::Open if !self.last => {
                        best = first([best, self.places(&matcher.all, at, from)]);
                    }
                    _ => {}
                }
            }
            if best.is_some() {
                return best;
            }
        }
        None
    }

    /// Spellings in digits with a line's end near their beginning.
    fn broken(&mut self, from: usize) -> Option<Event> {
        let rest = self.data.get(from..)?;
        memchr::memchr2_iter(b'\r', b'\n', rest).find_map(|at| self.behind(from + at, from))
    }

    /// The event of spellings that have the end of a line at a position.
    fn behind(&mut self, at: usize, from: usize) -> Option<Event> {
        let before = at.checked_sub(1).filter(|before| *before >= from)?;
        let places = self.matcher.after.of(*self.data.get(before)?);
        self.places(places, at, from)
    }

    /// Spellings whose anchor the end of the data may have cut.
    fn cut(&mut self, from: usize) -> Option<Event> {
        if self.last {
            return None;
        }
        let (matcher, data) = (self.matcher, self.data);
        let start = from.max((data.len() + 1).saturating_sub(matcher.reach));
        (start..data.len()).find_map(|at| {
            let byte = *data.get(at)?;
            let mut best = None;
            for (number, _) in matcher.symbols.of(byte).iter().filter(|(_, symbol)| *symbol == 0) {
                best = first([best, self.judge(*number, at)]);
            }
            best
        })
    }
}

#[cfg(test)]
#[path = "matcher_tests.rs"]
mod tests;
