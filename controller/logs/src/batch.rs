//! Batches of lines, encoded once as the server-sent events that every follower gets. A thousand followers share the same
//! bytes. Pure.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use cofferdam_contract::LogLine;
use serde::Deserialize;

use crate::time::nanos;

/// A batch is full at this many bytes.
const FULL_BATCH_BYTES: usize = 64 << 10;
const MAX_LINES: usize = 1_024;

/// The place of a line in its batch.
#[derive(Debug, Clone)]
struct Mark {
    seq: u64,
    version: u64,
    /// The time of the line, in nanoseconds of Unix time.
    at: i64,
    /// The end of its event, which begins at the end of the one before.
    end: usize,
    /// The range of its JSON.
    json: (usize, usize),
}

/// Lines whose numbers rise. Never changed, only shared.
#[derive(Debug)]
pub(crate) struct Batch {
    bytes: Bytes,
    marks: Vec<Mark>,
}

/// One line of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    pub seq: u64,
    pub version: u64,
    pub at: i64,
    pub event: &'a [u8],
    pub json: &'a [u8],
}

#[derive(Deserialize)]
struct OnlyText<'a> {
    #[serde(borrow)]
    line: Cow<'a, str>,
}

impl<'a> Line<'a> {
    /// The text of the line.
    pub fn text(&self) -> Cow<'a, str> {
        serde_json::from_slice::<OnlyText<'a>>(self.json).map_or(Cow::Borrowed(""), |found| found.line)
    }
}

impl Batch {
    pub(crate) fn first(&self) -> u64 {
        self.marks.first().map_or(0, |mark| mark.seq)
    }

    pub(crate) fn last(&self) -> u64 {
        self.marks.last().map_or(0, |mark| mark.seq)
    }

    pub(crate) fn first_at(&self) -> i64 {
        self.marks.first().map_or(0, |mark| mark.at)
    }

    /// Bytes of memory that it holds.
    pub(crate) fn weight(&self) -> usize {
        self.bytes.len() + self.marks.len() * size_of::<Mark>() + 64
    }

    pub(crate) fn lines(&self) -> impl DoubleEndedIterator<Item = Line<'_>> {
        let begins = std::iter::once(0).chain(self.marks.iter().map(|mark| mark.end));
        let begins: Vec<usize> = begins.take(self.marks.len()).collect();
        self.marks.iter().zip(begins).map(|(mark, begin)| Line {
            seq: mark.seq,
            version: mark.version,
            at: mark.at,
            event: self.bytes.get(begin..mark.end).unwrap_or_default(),
            json: self.bytes.get(mark.json.0..mark.json.1).unwrap_or_default(),
        })
    }

    /// The events of all lines after `seq`.
    pub(crate) fn after(&self, seq: u64) -> Bytes {
        if seq < self.first() {
            return self.bytes.clone();
        }
        let behind = self.marks.partition_point(|mark| mark.seq <= seq);
        let begin = behind.checked_sub(1).and_then(|at| self.marks.get(at)).map_or(0, |mark| mark.end);
        self.bytes.slice(begin.min(self.bytes.len())..)
    }

    /// Writes each line as JSON, with a newline after it.
    pub(crate) fn write_json(&self, out: &mut Vec<u8>) {
        for line in self.lines() {
            out.extend_from_slice(line.json);
            out.push(b'\n');
        }
    }
}

/// A batch that takes lines.
#[derive(Debug, Default)]
pub(crate) struct BatchBuilder {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
}

impl BatchBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL_BATCH_BYTES || self.marks.len() >= MAX_LINES
    }

    pub(crate) fn weight(&self) -> usize {
        self.bytes.len() + self.marks.len() * size_of::<Mark>()
    }

    /// Adds a line. Its number has to be higher than those before.
    pub(crate) fn push(&mut self, line: &LogLine) {
        let begin = self.bytes.len();
        // Writing to memory cannot fail, and a line can always be written as JSON.
        let _ = std::io::Write::write_fmt(&mut self.bytes, format_args!("id: {}\nevent: log\ndata: ", line.seq));
        let json = self.bytes.len();
        if serde_json::to_writer(&mut self.bytes, line).is_err() {
            self.bytes.truncate(begin);
            return;
        }
        let json = (json, self.bytes.len());
        self.bytes.extend_from_slice(b"\n\n");
        let at = nanos(&line.time).unwrap_or_default();
        self.marks.push(Mark { seq: line.seq, version: line.version, at, end: self.bytes.len(), json });
    }

    /// Takes the lines out as a batch, and leaves an empty builder. `None` if there are none.
    pub(crate) fn seal(&mut self) -> Option<Arc<Batch>> {
        if self.is_empty() {
            return None;
        }
        let built = std::mem::take(self);
        let mut marks = built.marks;
        marks.shrink_to_fit();
        Some(Arc::new(Batch { bytes: Bytes::from(built.bytes.into_boxed_slice()), marks }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seq: u64, text: &str) -> LogLine {
        let time = format!("2026-11-22T01:02:{:02}.5Z", seq % 60);
        LogLine { seq, time, pod: "p-1".into(), version: 3, line: text.into() }
    }

    #[test]
    fn events_are_whole_whatever_a_line_holds() {
        let mut builder = BatchBuilder::default();
        for (seq, text) in [(4, "plain"), (7, "a\n\nevent: log\ndata: forged\r\n\"\u{2028}"), (8, "")] {
            builder.push(&line(seq, text));
        }
        let batch = builder.seal().unwrap();
        assert!(builder.is_empty() && builder.seal().is_none());
        let text = String::from_utf8(batch.after(0).to_vec()).unwrap();
        assert_eq!(text.matches("\n\n").count(), 3, "{text}");
        assert_eq!(text.lines().filter(|l| l.starts_with("event:")).count(), 3);
        assert!(text.starts_with("id: 4\nevent: log\ndata: {\"seq\":4,"), "{text}");
        assert_eq!((batch.first(), batch.last(), batch.marks.len()), (4, 8, 3));
        let seen: Vec<_> = batch.lines().map(|line| (line.seq, line.text().into_owned())).collect();
        assert_eq!(seen[1], (7, "a\n\nevent: log\ndata: forged\r\n\"\u{2028}".to_owned()));
        let mut json = Vec::new();
        batch.write_json(&mut json);
        assert_eq!(json.split(|b| *b == b'\n').filter(|l| !l.is_empty()).count(), 3);
    }

    #[test]
    fn what_comes_after_a_number_is_a_slice() {
        let mut builder = BatchBuilder::default();
        (10..20).step_by(2).for_each(|seq| builder.push(&line(seq, "x")));
        let batch = builder.seal().unwrap();
        let ids = |after: u64| {
            let text = String::from_utf8(batch.after(after).to_vec()).unwrap();
            let ids = text.lines().filter_map(|l| l.strip_prefix("id: ")?.parse().ok());
            ids.collect::<Vec<u64>>()
        };
        assert_eq!(ids(0), [10, 12, 14, 16, 18]);
        assert_eq!(ids(10), [12, 14, 16, 18]);
        assert_eq!(ids(13), [14, 16, 18]);
        assert_eq!(ids(18), Vec::<u64>::new());
        assert_eq!(batch.lines().next_back().unwrap().event, &batch.after(16)[..]);
    }
}
