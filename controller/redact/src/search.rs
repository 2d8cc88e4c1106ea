//! One search of a text for the values of a [`Matcher`]. Its result does not depend on how a stream was cut: the value that
//! begins first counts, then the longest. Pure.

use std::ops::Range;

use crate::anchors::{Anchor, MAX_GROUPS};
use crate::backward::{MAX_BACK_BYTES, MAX_ESCAPE_BYTES};
use crate::escape::{Code, Escape, begins_escape, escape};
use crate::spelling::{Break, MAX_TEXT_PART, Spelling, Steps, Verdict};
use crate::{Forbidden, Matcher};

/// A search each for every group of texts, for `%` and `&`, for other signs, and for what the text's end has cut.
const SEARCHES: usize = MAX_GROUPS + 3;

/// The next thing in a text.
pub(crate) enum Next {
    /// A value by its number, and its place.
    Value(usize, Range<usize>),
    /// Nothing up to this position. At the rest, a value may turn out to be when there is more of the text.
    End(usize),
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

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// A text that is searched.
pub(crate) struct Search<'a> {
    matcher: &'a Matcher,
    data: &'a [u8],
    /// No more of the text follows.
    last: bool,
    steps: &'a mut Steps,
    /// The first event of each search. `None`: not looked for from the present position.
    found: [Option<Option<Event>>; SEARCHES],
    from: usize,
    /// Finds that begin after this position are ignored.
    limit: usize,
}

impl<'a> Search<'a> {
    pub(crate) fn new(matcher: &'a Matcher, data: &'a [u8], last: bool, steps: &'a mut Steps) -> Self {
        Self { matcher, data, last, steps, found: [None; SEARCHES], from: 0, limit: usize::MAX }
    }

    /// # Errors
    /// The text resembles a value too much to be searched.
    pub(crate) fn next(&mut self) -> Result<Next, Forbidden> {
        for number in 0..SEARCHES {
            if self.found.get(number).is_some_and(Option::is_none) {
                let event = self.search(number);
                if let Some(found) = self.found.get_mut(number) {
                    *found = Some(event);
                }
            }
        }
        if self.steps.0 == 0 {
            return Err(Forbidden("The text resembles a secret in too many places to be searched.".to_owned()));
        }
        let Some(event) = first(self.found.iter().copied().flatten()) else { return Ok(Next::End(self.data.len())) };
        let Some(end) = event.end else { return Ok(Next::End(event.start)) };
        self.from = end;
        for found in &mut self.found {
            if found.flatten().is_some_and(|event| event.start < end) {
                *found = None;
            }
        }
        Ok(Next::Value(event.value, event.start..end))
    }

    fn search(&mut self, number: usize) -> Option<Event> {
        match number.checked_sub(MAX_GROUPS) {
            None => self.anchored(number),
            Some(0) => self.signs(),
            Some(1) => self.short_escapes(),
            Some(_) => self.cut(),
        }
    }

    fn judge(&mut self, number: u32, start: usize) -> Option<Event> {
        let spelling = self.spelling(number).filter(|_| start <= self.limit)?;
        let value = spelling.value;
        match spelling.compare(self.data, start, false, self.steps) {
            Verdict::Open(_) if !self.last => Some(Event { start, end: None, value }),
            Verdict::Open(Some(end)) | Verdict::Ends(end) => Some(Event { start, end: Some(end), value }),
            Verdict::Open(None) | Verdict::No => None,
        }
    }

    /// The event of an anchor that was found.
    fn anchor(&mut self, anchor: Anchor, at: usize) -> Option<Event> {
        match anchor {
            Anchor::Part(number, 0) => self.judge(number, at),
            Anchor::Part(number, index) => {
                let spelling = self.matcher.spellings.get(number as usize)?;
                let starts = spelling.starts(self.data, at, index, self.from, self.steps);
                starts.into_iter().map(|start| self.judge(number, start)).fold(None, |best, event| first([best, event]))
            }
            Anchor::Unicode => self.backslash(at.checked_sub(1)?),
        }
    }

    /// The event of values with an escape at a position that begins with a backslash, which may be escaped itself.
    fn backslash(&mut self, at: usize) -> Option<Event> {
        let is = |at: &usize| *at >= self.from && self.data.get(*at) == Some(&b'\\');
        let at = Some(at).filter(is).filter(|at| self.may_matter(*at))?;
        let before = at.checked_sub(1).filter(is);
        first([before.and_then(|before| self.escaped(before)), self.escaped(at)])
    }

    /// The event of values with an escape at a position near their beginning, which is there as it is.
    fn escaped(&mut self, at: usize) -> Option<Event> {
        let mut best = None;
        for depth in [1, 2] {
            let Escape::Is(code, _) = escape(self.data, at, depth) else { continue };
            for byte in first_bytes(code).into_iter().flatten() {
                let places = self.matcher.anchors.symbols.of(byte);
                if !self.steps.take(places.len() as u64) {
                    return None;
                }
                for (number, index) in places {
                    let Some(start) = at.checked_sub(usize::from(*index)).filter(|start| *start >= self.from) else {
                        continue;
                    };
                    let before = self.data.get(start..at).unwrap_or_default();
                    if self.spelling(*number).is_some_and(|spelling| spelling.begins_plain(before)) {
                        best = first([best, self.judge(*number, start)]);
                    }
                }
            }
        }
        best
    }

    fn spelling(&self, number: u32) -> Option<&'a Spelling> {
        self.matcher.spellings.get(number as usize)
    }

    /// The first event of those at the candidates, which come in order. A later one may begin before an earlier one.
    fn first_of(&mut self, mut next: impl FnMut(&mut Self) -> Option<(usize, Option<Event>)>) -> Option<Event> {
        let mut best = None::<Event>;
        while let Some((at, event)) = next(self) {
            if best.is_some_and(|best| at >= best.start + MAX_BACK_BYTES) || !self.steps.take(1) {
                break;
            }
            best = first([best, event]);
            self.limit = best.map_or(usize::MAX, |best| best.start);
        }
        self.limit = usize::MAX;
        best
    }

    /// Values whose part is there as it is, or has an escape with a backslash.
    fn anchored(&mut self, group: usize) -> Option<Event> {
        let group = self.matcher.anchors.groups.get(group)?;
        let mut from = self.from;
        self.first_of(|search| {
            let (at, anchors) = group.find(search.data, from)?;
            from = at + 1;
            let events = anchors.iter().map(|anchor| search.anchor(*anchor, at));
            Some((at, events.fold(None, |best, event| first([best, event]))))
        })
    }

    /// Values with an escape that begins with `%` or `&`.
    fn signs(&mut self) -> Option<Event> {
        let from = self.from;
        let mut signs = memchr::memchr2_iter(b'%', b'&', self.data.get(from..)?);
        self.first_of(|search| {
            let at = from + signs.find(|at| search.may_matter(from + at))?;
            Some((at, search.escaped(at)))
        })
    }

    /// Values with an escape such as `\x41`, and others with a backslash or `=` where the values need it.
    fn short_escapes(&mut self) -> Option<Event> {
        let (from, anchors) = (self.from, &self.matcher.anchors);
        let rest = self.data.get(from..)?;
        if let Some(finder) = &anchors.short_hex {
            let mut signs = finder.find_iter(rest);
            return self.first_of(|search| {
                let at = from + signs.next()?;
                Some((at, search.backslash(at)))
            });
        }
        if !anchors.has_short_escapes {
            return None;
        }
        let mut signs = memchr::memchr2_iter(b'\\', b'=', rest);
        self.first_of(|search| {
            let at = from + signs.find(|at| search.may_matter(from + at))?;
            Some((at, first([search.escaped(at), search.broken(at)])))
        })
    }

    /// The event of values that a line's end in quoted-printable interrupts at a position near their beginning.
    fn broken(&mut self, at: usize) -> Option<Event> {
        let spellings = (0..).zip(&self.matcher.spellings).filter(|(_, spelling)| !spelling.has_lines());
        spellings.fold(None, |best, (number, spelling)| {
            if !matches!(spelling.behind_break(self.data, at), Break::Ends(_)) || !self.steps.take(1) {
                return best;
            }
            let starts = at.saturating_sub(MAX_TEXT_PART).max(self.from)..at;
            let data = self.data;
            let plain = |start: &usize| spelling.begins_plain(data.get(*start..at).unwrap_or_default());
            starts.filter(plain).fold(best, |best, start| first([best, self.judge(number, start)]))
        })
    }

    /// False for most escapes of ordinary text, at little cost.
    fn may_matter(&self, at: usize) -> bool {
        let byte = |offset: usize| self.data.get(at + offset).copied();
        let anchors = &self.matcher.anchors;
        let wanted = |byte: u8| !anchors.symbols.of(byte).is_empty();
        let hex = |offset: usize| {
            let code =
                byte(offset).and_then(hex).zip(byte(offset + 1).and_then(hex)).map(|(high, low)| high << 4 | low);
            code.is_some_and(|code| {
                wanted(code) || matches!(code, b'%' | b'\\' | b'&') || (anchors.is_wide && !code.is_ascii())
            })
        };
        let letter = |letter: u8| match letter {
            b'n' => wanted(b'\n'),
            b'r' => wanted(b'\r'),
            b't' | b'b' | b'f' => wanted(b'\t') || wanted(8) || wanted(12),
            b'x' | b'u' => true,
            sign => wanted(sign),
        };
        let (Some(introducer), Some(next)) = (byte(0), byte(1)) else { return false };
        match (introducer, next) {
            (b'%', b'u') => true,
            (b'=', b'\r' | b'\n' | b'\\' | b'%' | b'&') => true,
            (b'%' | b'=', _) => hex(1),
            (b'\\', b'x') => hex(2),
            (b'\\', b'u') => anchors.is_wide || (byte(2) == Some(b'0') && byte(3) == Some(b'0') && hex(4)),
            (b'\\', b'\\') => wanted(b'\\') || byte(2).is_some_and(|third| third == b'\\' || letter(third)),
            (b'\\', next) => letter(next),
            // The sign itself, or the beginning of an escape that is escaped.
            (_, b'a') if byte(2) == Some(b'm') && !wanted(b'&') => {
                byte(5).is_some_and(|byte| matches!(byte, b'#' | b'a' | b'l' | b'g' | b'q'))
            }
            (_, b'l') => wanted(b'<'),
            (_, b'g') => wanted(b'>'),
            (_, b'q') => wanted(b'"'),
            (_, next) => matches!(next, b'#' | b'a' | b'%' | b'\\'),
        }
    }

    /// Values of which the text's end may have cut all that the other searches find.
    fn cut(&mut self) -> Option<Event> {
        if self.last {
            return None;
        }
        let data = self.data;
        let start = self.from.max(data.len().saturating_sub(MAX_BACK_BYTES + self.matcher.anchors.longest));
        let tail = data.get(start..).unwrap_or_default();
        (start..).zip(tail).find_map(|(at, byte)| {
            let byte = *byte;
            if data.get(at + 1).is_some_and(|next| !self.matcher.anchors.pairs.has(byte, *next)) {
                return None;
            }
            let mut best = None;
            for (number, _) in self.matcher.anchors.symbols.of(byte).iter().filter(|(_, index)| *index == 0) {
                best = first([best, self.judge(*number, at)]);
            }
            if begins_escape(byte) && (at + MAX_ESCAPE_BYTES > data.len() || self.may_matter(at)) {
                best = first([best, self.cut_escape(at)]);
            }
            best.filter(|event| event.end.is_none())
        })
    }

    /// The same for values that begin with an escape.
    fn cut_escape(&mut self, at: usize) -> Option<Event> {
        let mut best = None;
        for depth in [1, 2] {
            match escape(self.data, at, depth) {
                Escape::Is(code, _) => {
                    for byte in first_bytes(code).into_iter().flatten() {
                        for (number, _) in self.matcher.anchors.symbols.of(byte).iter().filter(|(_, index)| *index == 0)
                        {
                            best = first([best, self.judge(*number, at)]);
                        }
                    }
                }
                Escape::Open => {
                    for number in (0..).take(self.matcher.spellings.len()) {
                        best = first([best, self.judge(number, at)]);
                    }
                }
                Escape::No => {}
            }
        }
        best
    }
}

/// The first bytes of the characters that an escape can stand for.
fn first_bytes(code: Code) -> [Option<u8>; 2] {
    let first = |char: char| char.encode_utf8(&mut [0; 4]).as_bytes().first().copied();
    match code {
        Code::Byte(byte) => [Some(byte), None],
        Code::Char(char) => [first(char), None],
        Code::Either(byte) => [Some(byte), first(char::from(byte))],
    }
}
