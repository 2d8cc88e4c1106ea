//! Compares a text with one value character by character, whatever way each of them is written. Pure.

use std::collections::BTreeSet;
use std::ops::Range;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use zeroize::Zeroizing;

use crate::escape::{Code, Escape, begins_escape, escape};
use crate::json::json_texts;

/// Fewer digits of base64 would be found where no secret is.
const MIN_BASE64_DIGITS: usize = 5;
/// Bytes between two digits of base64 at a line's end: the line break and what the next line is indented with.
pub(crate) const MAX_BREAK_BYTES: usize = 40;
/// Symbols of a part that is searched for as it is: of the value itself, and of digits.
pub(crate) const MAX_TEXT_PART: usize = 8;
const MAX_DIGITS_PART: usize = 6;
/// A shorter part would be found everywhere.
const MIN_PART: usize = 4;
/// Fewer digits are looked for in one line.
const MIN_BROKEN_DIGITS: usize = 6;
/// Symbols before a part of digits, and between two parts.
const MAX_PART_START: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The value itself.
    Text,
    /// Digits of the standard alphabet; a text may use that for URLs.
    Base64,
    /// Digits in lower case; a text may use either.
    Hex,
}

/// One sequence of bytes to look for, each of which may be escaped.
pub(crate) struct Spelling {
    kind: Kind,
    symbols: Zeroizing<Vec<u8>>,
    /// The value that it belongs to.
    pub(crate) value: usize,
}

/// The outcome of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    No,
    /// The text ends before it is certain. If nothing follows, the value is there up to this position.
    Open(Option<usize>),
    /// The value is there, up to this position.
    Ends(usize),
}

/// Steps that comparisons may yet take. A text that resembles a long value everywhere would cost too many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps(pub(crate) u64);

/// A step takes this much longer when there are several places to go on from.
const SLOW_STEP: u64 = 8;
/// Texts that were not made to resemble a value take less than one.
const STEPS_PER_BYTE: u64 = 64;

/// Steps that a harmless text leaves over are kept up to here, so that what follows cannot hold up a thread: 80 ms.
const MAX_STEPS: u64 = 1 << 22;

impl Steps {
    /// More of the text has come.
    pub(crate) fn add(&mut self, bytes: usize) {
        let more = STEPS_PER_BYTE.saturating_mul(bytes as u64);
        self.0 = self.0.saturating_add(more).min(MAX_STEPS.max(more));
    }

    pub(crate) fn take(&mut self, steps: u64) -> bool {
        self.0 = self.0.saturating_sub(steps);
        self.0 > 0
    }
}

/// All spellings of a value: itself, in base64 when 0, 1 or 2 bytes stand before it in a group of three, in hex. In base64
/// also as JSON writes it.
pub(crate) fn spellings(value: &[u8], number: usize) -> Vec<Spelling> {
    let spelling = |kind, symbols| Spelling { kind, symbols: Zeroizing::new(symbols), value: number };
    let mut all = vec![spelling(Kind::Text, value.to_vec())];
    let json = json_texts(value);
    for text in json.iter().map(|text| text.as_slice()).chain([value]) {
        let digits = (0..3).map(|before| base64(text, before)).filter(|digits| digits.len() >= MIN_BASE64_DIGITS);
        all.extend(digits.map(|digits| spelling(Kind::Base64, digits)));
    }
    let hex = value.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
    all.push(spelling(Kind::Hex, hex));
    all
}

fn digit(number: u8) -> u8 {
    if number < 10 { b'0' + number } else { b'a' + number - 10 }
}

/// The digits that depend on the value alone.
fn base64(value: &[u8], before: usize) -> Vec<u8> {
    let mut bytes = Zeroizing::new(vec![0; before]);
    bytes.extend_from_slice(value);
    let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    let text = Zeroizing::new(BASE64_STANDARD_NO_PAD.encode(bytes.as_slice()));
    text.as_bytes().get(first..end).unwrap_or_default().to_vec()
}

/// True for a character that encoders write as a backslash and a letter or sign, and for one beyond ASCII.
fn has_short_escape(byte: u8) -> bool {
    !(byte.is_ascii_graphic() || byte == b' ') || matches!(byte, b'"' | b'\\' | b'/' | b'\'' | b'=')
}

/// True for the ends of lines.
pub(crate) fn is_break(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

impl Spelling {
    pub(crate) fn len(&self) -> usize {
        self.symbols.len()
    }

    pub(crate) fn symbols(&self) -> &[u8] {
        &self.symbols
    }

    /// True for digits, between which lines may end.
    pub(crate) fn has_lines(&self) -> bool {
        self.kind != Kind::Text
    }

    /// The symbols of two parts near the beginning. In any text with the value, one of them stands there as it is, or the
    /// first of them has an escape.
    pub(crate) fn parts(&self) -> [Range<usize>; 2] {
        let plain = |at: usize| match (self.kind, self.symbols.get(at)) {
            (_, None) => false,
            (Kind::Text, Some(symbol)) => !has_short_escape(*symbol),
            (Kind::Base64, Some(symbol)) => symbol.is_ascii_alphanumeric(),
            // A letter is written in two ways.
            (Kind::Hex, Some(symbol)) => symbol.is_ascii_digit(),
        };
        let run =
            |from: usize, longest: usize| from..(from..from + longest).find(|at| !plain(*at)).unwrap_or(from + longest);
        let (length, count) =
            (self.symbols.len(), if self.kind == Kind::Text { MAX_TEXT_PART } else { MAX_DIGITS_PART });
        let first = match self.kind {
            Kind::Text if (2 * MIN_PART..MAX_TEXT_PART + MIN_PART).contains(&length) => 0..length / 2,
            Kind::Text => 0..run(0, count).end.max(MIN_PART).min(length),
            // So few digits are in one line.
            _ if length < MIN_BROKEN_DIGITS => 0..length,
            _ if length < 2 * MAX_DIGITS_PART => 0..length.div_ceil(2),
            _ => (0..MAX_PART_START)
                .map(|from| run(from, count))
                .find(|run| run.len() >= MIN_PART)
                .unwrap_or(0..MIN_PART),
        };
        let second =
            (first.end..first.end + MAX_PART_START).map(|from| run(from, count)).find(|run| run.len() >= MIN_PART);
        let rest = if self.has_lines() { first.end..length.min(first.end + count) } else { first.end..first.end };
        (first, second.unwrap_or(rest)).into()
    }

    /// True when the parts can have an escape of a backslash and one letter or sign, or an end of a line in mail.
    pub(crate) fn has_short_escapes(&self) -> bool {
        let parts = self.parts();
        let is_plain = |part: &Range<usize>| {
            let mut symbols = self.symbols.get(part.clone()).unwrap_or_default().iter();
            !part.is_empty() && !symbols.any(|symbol| has_short_escape(*symbol))
        };
        match self.kind {
            // Without a second part, a line may end in the first.
            Kind::Text => {
                !parts.first().is_some_and(is_plain)
                    || (self.len() >= 2 * MIN_PART && !parts.last().is_some_and(is_plain))
            }
            Kind::Base64 => !parts.iter().any(is_plain),
            Kind::Hex => false,
        }
    }

    /// The bytes of a part that has no escapes: several where a symbol is written in two ways.
    pub(crate) fn plain_texts(&self, part: Range<usize>) -> Vec<Vec<u8>> {
        let symbols = self.symbols.get(part).unwrap_or_default();
        if self.kind == Kind::Hex {
            let upper = symbols.to_ascii_uppercase();
            return if upper == symbols { vec![upper] } else { vec![symbols.to_vec(), upper] };
        }
        let mut texts = vec![Vec::new()];
        for symbol in symbols {
            let with = |byte: u8| texts.iter().map(move |text: &Vec<u8>| [text.as_slice(), &[byte]].concat());
            texts = self.bytes_of(*symbol).into_iter().flat_map(with).collect();
        }
        texts
    }

    /// The bytes that stand for a symbol as they are.
    pub(crate) fn bytes_of(&self, symbol: u8) -> Vec<u8> {
        match (self.kind, symbol) {
            (Kind::Text, b' ') => vec![b' ', b'+'],
            (Kind::Base64, b'+') => vec![b'+', b'-'],
            (Kind::Base64, b'/') => vec![b'/', b'_'],
            (Kind::Hex, b'a'..=b'f') => vec![symbol, symbol.to_ascii_uppercase()],
            _ => vec![symbol],
        }
    }

    fn accepts(&self, byte: u8, symbol: u8, fold: bool) -> bool {
        if byte == symbol || (fold && byte.eq_ignore_ascii_case(&symbol)) {
            return true;
        }
        match self.kind {
            Kind::Text => false,
            Kind::Base64 => matches!((byte, symbol), (b'-', b'+') | (b'_', b'/')),
            Kind::Hex => byte.to_ascii_lowercase() == symbol,
        }
    }

    /// True for a byte that stands for a symbol as it is.
    pub(crate) fn accepts_at(&self, byte: u8, index: usize) -> bool {
        let accepts = |symbol: &u8| self.accepts(byte, *symbol, false) || (byte == b'+' && *symbol == b' ');
        self.symbols.get(index).is_some_and(accepts)
    }

    /// True when a text stands for the first symbols as it is.
    pub(crate) fn begins_plain(&self, text: &[u8]) -> bool {
        (0..).zip(text).all(|(index, byte)| self.accepts_at(*byte, index))
    }

    /// The number of symbols from `index` on that an escape stands for.
    pub(crate) fn accepted(&self, code: Code, index: usize, fold: bool) -> [Option<usize>; 2] {
        let rest = self.symbols.get(index..).unwrap_or_default();
        let byte = |byte: u8| rest.first().is_some_and(|symbol| self.accepts(byte, *symbol, fold)).then_some(1);
        let char = |char: char| {
            let mut bytes = [0; 4];
            let bytes = char.encode_utf8(&mut bytes).as_bytes();
            (self.kind == Kind::Text && rest.starts_with(bytes)).then_some(bytes.len())
        };
        match code {
            Code::Byte(given) => [byte(given), None],
            Code::Char(given) => [char(given), None],
            Code::Either(given) => [byte(given), char(char::from(given))],
        }
    }

    /// Compares the text from `start` on. `fold`: upper and lower case are the same, as in the names of headers.
    pub(crate) fn compare(&self, data: &[u8], start: usize, fold: bool, steps: &mut Steps) -> Verdict {
        let (mut ends, mut is_open) = (None, false);
        // The place in the text for each place in the value; more than one only where an escape has two meanings.
        let mut others = BTreeSet::new();
        let mut next = Some((0, start));
        while let Some((index, at)) = next.take().or_else(|| others.pop_first()) {
            if !steps.take(if others.is_empty() { 1 } else { SLOW_STEP }) {
                return Verdict::No;
            }
            let Some(symbol) = self.symbols.get(index) else {
                ends = ends.max(Some(at));
                continue;
            };
            let Some(byte) = data.get(at) else {
                is_open = true;
                continue;
            };
            if self.accepts(*byte, *symbol, fold) || (*byte == b'+' && *symbol == b' ') {
                next = Some((index + 1, at + 1));
            }
            if begins_escape(*byte) {
                for depth in [1, 2] {
                    match escape(data, at, depth) {
                        Escape::Is(code, end) => {
                            let accepted = self.accepted(code, index, fold).into_iter().flatten();
                            others.extend(accepted.map(|symbols| (index + symbols, end)));
                        }
                        Escape::Open => is_open = true,
                        Escape::No => {}
                    }
                }
            }
            if index > 0 && (is_break(*byte) || begins_escape(*byte)) {
                match self.behind_break(data, at) {
                    Break::Ends(end) => {
                        others.insert((index, end));
                    }
                    Break::Open => is_open = true,
                    Break::No => {}
                }
            }
            // The order makes each pair of places come once.
            if !others.is_empty() {
                others.extend(next.take());
            }
        }
        match ends {
            ends if is_open => Verdict::Open(ends),
            Some(end) => Verdict::Ends(end),
            None => Verdict::No,
        }
    }

    /// The position behind the end of a line at `at`, if the spelling goes on there.
    pub(crate) fn behind_break(&self, data: &[u8], at: usize) -> Break {
        match self.kind {
            Kind::Text if data.get(at) == Some(&b'=') => behind_soft_break(data, at + 1),
            Kind::Text => Break::No,
            _ => behind_break(data, at),
        }
    }
}

pub(crate) enum Break {
    Ends(usize),
    Open,
    No,
}

/// A character at the end of a line, which may be escaped, and the position behind it. `None`: the text ends before it.
fn line_end(data: &[u8], at: usize) -> Option<(u8, usize)> {
    let byte = *data.get(at)?;
    if byte != b'=' && begins_escape(byte) {
        for depth in [1, 2] {
            match escape(data, at, depth) {
                Escape::Is(code, end) if code.ascii().is_some_and(is_break) => {
                    return Some((code.ascii().unwrap_or_default(), end));
                }
                Escape::Open => return None,
                _ => {}
            }
        }
    }
    Some((byte, at + 1))
}

/// The position behind one end of a line, which may be escaped, and behind what the next line is indented with.
fn behind_break(data: &[u8], start: usize) -> Break {
    let (mut at, mut seen) = (start, [false; 2]);
    while at - start <= MAX_BREAK_BYTES {
        let Some((byte, end)) = line_end(data, at) else { return Break::Open };
        match byte {
            b'\r' if seen == [false; 2] => seen = [true, false],
            b'\n' if !seen[1] => seen = [true, true],
            b' ' | b'\t' if seen[0] => seen = [true, true],
            _ if seen[0] && !is_break(byte) => return Break::Ends(at),
            _ => return Break::No,
        }
        at = end;
    }
    Break::No
}

/// The position behind the end of a line in quoted-printable, behind the `=`.
fn behind_soft_break(data: &[u8], start: usize) -> Break {
    match line_end(data, start) {
        Some((b'\n', end)) => Break::Ends(end),
        Some((b'\r', at)) => match line_end(data, at) {
            Some((b'\n', end)) => Break::Ends(end),
            Some(_) => Break::No,
            None => Break::Open,
        },
        Some(_) => Break::No,
        None => Break::Open,
    }
}
