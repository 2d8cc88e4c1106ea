//! Replaces texts in a stream whose pieces end anywhere. Only bytes that could still become one of the texts are held
//! back, so a piece goes on as soon as it can. Pure.

use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use bytes::Bytes;
use zeroize::Zeroizing;

use crate::matcher::steps;
use crate::spelling::Steps;
use crate::{Forbidden, Matcher, TooManyTexts};

/// Bytes put in the place of placeholders, in one request.
pub const MAX_INSERTED_BYTES: usize = 1 << 20;

/// The texts to look for.
pub struct Finder {
    automaton: AhoCorasick,
    texts: Vec<Vec<u8>>,
    longest: usize,
    /// True at the bytes that a text begins with.
    first: [bool; 256],
}

/// The bytes that a text becomes, or the sentence that says why the text must not be there.
pub type Replacement = Result<Zeroizing<Vec<u8>>, String>;

impl Finder {
    /// # Errors
    /// More texts than the automaton can hold.
    pub fn new(texts: Vec<Vec<u8>>) -> Result<Self, TooManyTexts> {
        // A table of all states and bytes would cost seconds and hundreds of megabytes for a long secret.
        let kind = Some(AhoCorasickKind::ContiguousNFA);
        let build = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).kind(kind).build(&texts);
        let automaton = build.map_err(|e| TooManyTexts(e.to_string()))?;
        let mut first = [false; 256];
        for byte in texts.iter().filter_map(|text| text.first()) {
            if let Some(seen) = first.get_mut(usize::from(*byte)) {
                *seen = true;
            }
        }
        let longest = texts.iter().map(Vec::len).max().unwrap_or_default();
        Ok(Self { automaton, texts, longest, first })
    }

    /// The first position from `from` on at which the rest of `data` could be the beginning of a text.
    fn open_end(&self, data: &[u8], from: usize) -> usize {
        let start = from.max(data.len().saturating_sub(self.longest.saturating_sub(1)));
        let rest = data.get(start..).unwrap_or_default();
        let begins = |at: usize, byte: u8| {
            let end = rest.get(at..).unwrap_or_default();
            self.first.get(usize::from(byte)) == Some(&true)
                && self.texts.iter().any(|text| text.len() > end.len() && text.starts_with(end))
        };
        let found = rest.iter().enumerate().find(|(at, byte)| begins(*at, **byte));
        found.map_or(data.len(), |(at, _)| start + at)
    }

    /// `data` with the texts replaced, up to the position at which the rest has to be held back, and that position.
    /// `None`: there is nothing to replace.
    fn replace(
        &self,
        with: &[Replacement],
        data: &[u8],
        last: bool,
        room: &mut usize,
    ) -> Result<(Option<Vec<u8>>, usize), Forbidden> {
        let open = |from: usize| if last { data.len() } else { self.open_end(data, from) };
        let mut hold = open(0);
        let (mut output, mut done) = (None::<Vec<u8>>, 0);
        for found in self.automaton.find_iter(data) {
            if found.start() >= hold {
                break;
            }
            let replacement = match with.get(found.pattern().as_usize()) {
                Some(Ok(replacement)) => replacement,
                Some(Err(why)) => return Err(Forbidden(why.clone())),
                None => continue,
            };
            insert(replacement, room)?;
            let output = output.get_or_insert_with(|| Vec::with_capacity(data.len()));
            output.extend_from_slice(data.get(done..found.start()).unwrap_or_default());
            output.extend_from_slice(replacement);
            done = found.end();
            if done > hold {
                hold = open(done);
            }
        }
        if let Some(output) = &mut output {
            output.extend_from_slice(data.get(done..hold).unwrap_or_default());
        }
        Ok((output, hold))
    }

    /// Replaces the texts in `data`, which is whole. None: there is nothing to replace.
    ///
    /// # Errors
    /// A text that must not be there.
    pub fn replace_all(&self, with: &[Replacement], data: &[u8]) -> Result<Option<Vec<u8>>, Forbidden> {
        let mut room = MAX_INSERTED_BYTES;
        Ok(self.replace(with, data, true, &mut room)?.0)
    }

    /// The places of the texts in `data`, which is whole, in order.
    pub(crate) fn spans(&self, data: &[u8]) -> impl Iterator<Item = Range<usize>> {
        self.automaton.find_iter(data).map(|found| found.range())
    }
}

/// Takes what is inserted from the room for it.
pub(crate) fn insert(replacement: &[u8], room: &mut usize) -> Result<(), Forbidden> {
    *room = room
        .checked_sub(replacement.len())
        .ok_or_else(|| Forbidden("More is put in the place of placeholders than one request may hold.".to_owned()))?;
    Ok(())
}

/// The texts that a [`Replacer`] looks for: exact ones, or values in any spelling.
pub enum Wanted {
    Texts(Arc<Finder>),
    Values(Arc<Matcher>),
}

impl From<Arc<Finder>> for Wanted {
    fn from(finder: Arc<Finder>) -> Self {
        Self::Texts(finder)
    }
}

impl From<Arc<Matcher>> for Wanted {
    fn from(matcher: Arc<Matcher>) -> Self {
        Self::Values(matcher)
    }
}

/// Replaces texts in one stream.
pub struct Replacer {
    wanted: Wanted,
    with: Arc<Vec<Replacement>>,
    held: Vec<u8>,
    room: usize,
    /// Spent on comparisons that the text asks for.
    steps: Steps,
}

impl Replacer {
    /// Inserts at most `room` bytes.
    pub fn new(wanted: impl Into<Wanted>, with: Arc<Vec<Replacement>>, room: usize) -> Self {
        Self { wanted: wanted.into(), with, held: Vec::new(), room, steps: steps(0) }
    }

    fn replace(&mut self, data: &[u8], last: bool) -> Result<(Option<Vec<u8>>, usize), Forbidden> {
        match &self.wanted {
            Wanted::Texts(finder) => finder.replace(&self.with, data, last, &mut self.room),
            Wanted::Values(matcher) => matcher.replace(&self.with, data, last, &mut self.room, &mut self.steps),
        }
    }

    /// The bytes that can go on after this piece.
    ///
    /// # Errors
    /// A text that must not be there.
    pub fn push(&mut self, piece: Bytes) -> Result<Bytes, Forbidden> {
        self.steps.add(piece.len());
        let data = if self.held.is_empty() {
            piece
        } else {
            self.held.extend_from_slice(&piece);
            Bytes::from(std::mem::take(&mut self.held))
        };
        let (output, hold) = self.replace(&data, false)?;
        self.held.extend_from_slice(data.get(hold..).unwrap_or_default());
        Ok(output.map_or_else(|| data.slice(..hold), Bytes::from))
    }

    /// The bytes that were held back, at the end of the stream.
    ///
    /// # Errors
    /// A text that must not be there.
    pub fn finish(&mut self) -> Result<Bytes, Forbidden> {
        let data = std::mem::take(&mut self.held);
        let (output, _) = self.replace(&data, true)?;
        Ok(Bytes::from(output.unwrap_or(data)))
    }
}

#[cfg(test)]
#[path = "replace_tests.rs"]
mod tests;
