//! Finds values in a text by any of their spellings: each character as it is or escaped by rule, or all of them in base64
//! or hex. Fast searches find the places that could be one; only those are compared character by character. Pure.

use std::ops::Range;

use crate::anchors::Anchors;
use crate::replace::{MAX_INSERTED_BYTES, Replacement, insert};
use crate::search::{Next, Search};
use crate::spelling::{Spelling, Steps, Verdict, spellings};
use crate::{Forbidden, TooManyTexts};

/// Steps of comparison for any text, besides those for each of its bytes: 20 ms at most.
const FREE_STEPS: u64 = 1 << 20;

/// The steps for a text of this length.
pub(crate) fn steps(bytes: usize) -> Steps {
    let mut steps = Steps(FREE_STEPS);
    steps.add(bytes);
    steps
}

/// The comparisons that several texts of one origin may cost together: a hostile upstream chooses how many there are.
#[derive(Debug)]
pub struct Effort(Steps);

impl Effort {
    /// For texts of so many bytes together.
    pub fn new(bytes: usize) -> Self {
        Self(steps(bytes))
    }
}

/// The values to look for.
pub struct Matcher {
    pub(crate) spellings: Vec<Spelling>,
    pub(crate) anchors: Anchors,
}

impl Matcher {
    /// Looks for each value in all spellings. Values are known by their place in the list.
    ///
    /// # Errors
    /// More values than the automaton can hold.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, TooManyTexts> {
        let values = values.into_iter().enumerate().filter(|(_, value)| !value.is_empty());
        let spellings: Vec<Spelling> = values.flat_map(|(number, value)| spellings(value, number)).collect();
        let anchors = Anchors::new(&spellings)?;
        Ok(Self { spellings, anchors })
    }

    /// True when a header's name holds a value in any spelling, in upper or lower case.
    pub fn is_in_name(&self, name: &[u8], effort: &mut Effort) -> bool {
        let steps = &mut effort.0;
        self.spellings.iter().any(|spelling| {
            let starts = (name.len() + 1).saturating_sub(spelling.len());
            (0..starts).any(|start| {
                let found = spelling.compare(name, start, true, steps);
                matches!(found, Verdict::Ends(_) | Verdict::Open(Some(_)))
            })
        }) || steps.0 == 0
    }

    /// The places of values in `data`, which is whole, in order.
    ///
    /// # Errors
    /// The text resembles a value too much to be searched.
    pub fn spans(&self, data: &[u8]) -> Result<Vec<Range<usize>>, Forbidden> {
        let mut steps = steps(data.len());
        let mut search = Search::new(self, data, true, &mut steps);
        let mut spans = Vec::new();
        loop {
            match search.next()? {
                Next::Value(_, span) => spans.push(span),
                Next::End(_) => return Ok(spans),
            }
        }
    }

    /// Replaces the values in `data`, which is whole. None: there is nothing to replace.
    ///
    /// # Errors
    /// More is put in than fits, or the text resembles a value too much to be searched.
    pub fn replace_all(
        &self,
        with: &[Replacement],
        data: &[u8],
        effort: &mut Effort,
    ) -> Result<Option<Vec<u8>>, Forbidden> {
        let mut room = MAX_INSERTED_BYTES;
        Ok(self.replace(with, data, true, &mut room, &mut effort.0)?.0)
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
        let mut search = Search::new(self, data, last, steps);
        let (mut output, mut done) = (None::<Vec<u8>>, 0);
        let hold = loop {
            let (value, span) = match search.next()? {
                Next::Value(value, span) => (value, span),
                Next::End(hold) => break hold,
            };
            let replacement = match with.get(value) {
                Some(Ok(replacement)) => replacement.as_slice(),
                Some(Err(why)) => return Err(Forbidden(why.clone())),
                None => &[],
            };
            insert(replacement, room)?;
            let output = output.get_or_insert_with(|| Vec::with_capacity(data.len()));
            output.extend_from_slice(data.get(done..span.start).unwrap_or_default());
            output.extend_from_slice(replacement);
            done = span.end;
        };
        if let Some(output) = &mut output {
            output.extend_from_slice(data.get(done..hold).unwrap_or_default());
        }
        Ok((output, hold))
    }
}

#[cfg(test)]
#[path = "matcher_tests.rs"]
mod tests;
