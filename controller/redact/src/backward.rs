//! Finds where a spelling may begin whose later part stands at a known place of a text. Pure.

use std::collections::BTreeSet;

use crate::escape::{Escape, begins_escape, escape};
use crate::spelling::{Break, MAX_BREAK_BYTES, Spelling, Steps, is_break};

/// A beginning farther before the part is not found: it has lines of a few digits, or escapes of escapes throughout.
pub(crate) const MAX_BACK_BYTES: usize = 112;
/// The longest escape before the part that is seen.
pub(crate) const MAX_ESCAPE_BYTES: usize = 24;
/// Places on the way back.
const MAX_PLACES: usize = 256;

impl Spelling {
    /// The positions from `floor` on at which the first `index` symbols begin that end at `part`.
    pub(crate) fn starts(&self, data: &[u8], part: usize, index: usize, floor: usize, steps: &mut Steps) -> Vec<usize> {
        let floor = floor.max(part.saturating_sub(MAX_BACK_BYTES));
        let mut starts = Vec::new();
        let (mut seen, mut places) = (BTreeSet::new(), vec![(part, index)]);
        while let Some((at, index)) = places.pop() {
            if index == 0 {
                starts.push(at);
                continue;
            }
            let Some(byte) = at.checked_sub(1).filter(|before| *before >= floor).and_then(|before| data.get(before))
            else {
                continue;
            };
            if !steps.take(1) || seen.len() > MAX_PLACES || !seen.insert((at, index)) {
                continue;
            }
            if self.accepts_at(*byte, index - 1) {
                places.push((at - 1, index - 1));
            }
            if ends_escape(*byte) {
                self.before_escape(data, at, index, floor, &mut places);
            }
            if is_break(*byte) || matches!(byte, b' ' | b'\t') || ends_escape(*byte) {
                self.before_break(data, at, index, floor, &mut places);
            }
        }
        starts
    }

    fn before_escape(&self, data: &[u8], at: usize, index: usize, floor: usize, places: &mut Vec<(usize, usize)>) {
        let from = floor.max(at.saturating_sub(MAX_ESCAPE_BYTES));
        for start in from..at.saturating_sub(1) {
            if !data.get(start).is_some_and(|byte| begins_escape(*byte)) {
                continue;
            }
            for depth in [1, 2] {
                let Escape::Is(code, end) = escape(data, start, depth) else { continue };
                if end == at {
                    // A character has up to four symbols.
                    let symbols = (1..=index.min(4))
                        .filter(|count| self.accepted(code, index - count, false).contains(&Some(*count)));
                    places.extend(symbols.map(|count| (start, index - count)));
                }
            }
        }
    }

    fn before_break(&self, data: &[u8], at: usize, index: usize, floor: usize, places: &mut Vec<(usize, usize)>) {
        let from = floor.max(at.saturating_sub(MAX_BREAK_BYTES + MAX_ESCAPE_BYTES));
        let found = (from..at).filter(|start| {
            let begins = data.get(*start).is_some_and(|byte| is_break(*byte) || begins_escape(*byte));
            begins && matches!(self.behind_break(data, *start), Break::Ends(end) if end == at)
        });
        places.extend(found.map(|start| (start, index)));
    }
}

/// True for a byte that can be the last of an escape.
fn ends_escape(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b';' | b'"' | b'\\' | b'/' | b'\'' | b'n' | b't' | b'r')
}
