//! Compares a text with one value character by character, whatever way each of them is written. Pure.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use zeroize::Zeroizing;

use crate::escape::{Code, Escape, begins_escape, escape};

/// Fewer digits of base64 would be found where no secret is.
const MIN_BASE64_DIGITS: usize = 5;
/// Bytes between two digits of base64 at a line's end: the line break and what the next line is indented with.
const MAX_BREAK_BYTES: usize = 64;

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

impl Steps {
    /// More of the text has come.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.0 = self.0.saturating_add(STEPS_PER_BYTE.saturating_mul(bytes as u64));
    }

    fn take(&mut self, steps: u64) -> bool {
        self.0 = self.0.saturating_sub(steps);
        self.0 > 0
    }
}

/// All spellings of a value: itself, in base64 when 0, 1 or 2 bytes stand before it in a group of three, in hex.
pub(crate) fn spellings(value: &[u8], number: usize) -> Vec<Spelling> {
    let spelling = |kind, symbols| Spelling { kind, symbols: Zeroizing::new(symbols), value: number };
    let mut all = vec![spelling(Kind::Text, value.to_vec())];
    for before in 0..3 {
        let digits = base64(value, before);
        if digits.len() >= MIN_BASE64_DIGITS {
            all.push(spelling(Kind::Base64, digits));
        }
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

    /// True when lines may break between the symbols.
    pub(crate) fn has_lines(&self) -> bool {
        self.kind != Kind::Text
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

    /// The beginnings that a text without escapes has, of up to `length` symbols; and that number of symbols.
    pub(crate) fn beginnings(&self, length: usize) -> (Vec<Vec<u8>>, usize) {
        /// Each symbol that has two bytes doubles the beginnings.
        const MAX_BEGINNINGS: usize = 8;
        let symbols = self.symbols.get(..length.min(self.symbols.len())).unwrap_or_default();
        if self.kind == Kind::Hex {
            return (vec![symbols.to_vec(), symbols.to_ascii_uppercase()], symbols.len());
        }
        let mut beginnings = vec![Vec::new()];
        for (index, symbol) in symbols.iter().enumerate() {
            let bytes = self.bytes_of(*symbol);
            if beginnings.len() * bytes.len() > MAX_BEGINNINGS {
                return (beginnings, index);
            }
            let longer = |byte: &u8| {
                let byte = *byte;
                beginnings.iter().map(move |beginning: &Vec<u8>| {
                    let mut longer = beginning.clone();
                    longer.push(byte);
                    longer
                })
            };
            beginnings = bytes.iter().flat_map(longer).collect();
        }
        (beginnings, symbols.len())
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

    /// True for a byte that stands for the first symbol as it is.
    pub(crate) fn begins_with(&self, byte: u8) -> bool {
        let accepts = |symbol: &u8| self.accepts(byte, *symbol, false) || (byte == b'+' && *symbol == b' ');
        self.symbols.first().is_some_and(accepts)
    }

    /// The number of symbols from `index` on that an escape stands for.
    fn accepted(&self, code: Code, index: usize, fold: bool) -> [Option<usize>; 2] {
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
            if index > 0 && self.has_lines() && (is_break(*byte) || begins_escape(*byte)) {
                match behind_break(data, at) {
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
}

enum Break {
    Ends(usize),
    Open,
    No,
}

/// The position behind one end of a line, which may be escaped, and behind what the next line is indented with.
fn behind_break(data: &[u8], start: usize) -> Break {
    let (mut at, mut seen) = (start, [false; 2]);
    while at - start <= MAX_BREAK_BYTES {
        let Some(byte) = data.get(at) else { return Break::Open };
        let (byte, end) = match *byte {
            b'\\' | b'%' | b'&' => {
                let found = [1, 2].map(|depth| escape(data, at, depth)).into_iter().find(|found| match found {
                    Escape::Is(code, _) => code.ascii().is_some_and(is_break),
                    Escape::Open => true,
                    Escape::No => false,
                });
                match found {
                    Some(Escape::Is(code, end)) => (code.ascii().unwrap_or_default(), end),
                    Some(Escape::Open) => return Break::Open,
                    _ => (0, at),
                }
            }
            byte => (byte, at + 1),
        };
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
