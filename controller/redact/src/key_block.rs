//! Private keys in PEM that span lines. Pure.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use crate::clean::{bound, clean};
use crate::redactor::{MARK, Redactor};

/// A key without an end hides no more lines than this after its beginning.
pub(crate) const MAX_KEY_LINES: u32 = 200;

/// The beginning of a private key, also with its spaces encoded for a URL.
static BEGIN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"----[- ]BEGIN(?:[A-Z0-9 +]|%20){1,60}PRIVATE(?: |\+|%20)KEY").ok());
/// The end of any block.
static END: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"----[- ]END(?: |\+|%20)").ok());

/// Remembers whether a stream of lines is inside a private key.
#[derive(Debug, Default)]
pub struct KeyBlock {
    /// Lines that are hidden yet.
    left: u32,
}

impl KeyBlock {
    /// The next line of the stream as it may be shown: without terminal commands, without secrets, bounded in length.
    pub fn line(&mut self, redactor: &Redactor, line: &str) -> String {
        self.show(redactor, line).into_owned()
    }

    pub(crate) fn show<'a>(&mut self, redactor: &Redactor, line: &'a str) -> Cow<'a, str> {
        let line = clean(line);
        if self.hides_clean(&line) {
            return Cow::Borrowed(MARK);
        }
        bound(redactor.redact(line))
    }

    /// Moves on by a line and tells whether it belongs to a private key. For lines that are counted but not shown.
    pub fn hides(&mut self, line: &str) -> bool {
        self.hides_clean(&clean(line))
    }

    /// True if a clean text has a part of a private key.
    pub(crate) fn begins(mut self, text: &str) -> bool {
        self.hides_clean(text)
    }

    fn hides_clean(&mut self, line: &str) -> bool {
        let inside = self.left > 0;
        self.left = self.left.saturating_sub(1);
        let (begin, end) = (last(&BEGIN, line), last(&END, line));
        if begin.is_some() && end < begin {
            self.left = MAX_KEY_LINES;
        } else if end.is_some() {
            self.left = 0;
        }
        inside || begin.is_some()
    }
}

/// The number of first lines that belong to a private key whose beginning is missing: they are what is left of a longer
/// text that was cut at its start.
pub(crate) fn headless(lines: &[String]) -> usize {
    let is = |marker: &LazyLock<Option<Regex>>, line: &String| last(marker, &clean(line)).is_some();
    let ends_key = |line: &String| is(&END, line) && clean(line).contains("PRIVATE");
    let found = lines.iter().take(MAX_KEY_LINES as usize).position(|line| is(&BEGIN, line) || ends_key(line));
    match found.and_then(|at| lines.get(at).map(|line| (at, line))) {
        Some((at, line)) if !is(&BEGIN, line) => at + 1,
        _ => 0,
    }
}

fn last(marker: &LazyLock<Option<Regex>>, line: &str) -> Option<usize> {
    if !line.contains("----") {
        return None;
    }
    marker.as_ref()?.find_iter(line).last().map(|found| found.start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_markers_compile() {
        assert!(BEGIN.is_some() && END.is_some());
    }

    #[test]
    fn a_stream_remembers_that_it_is_inside_a_key() {
        let mut key = KeyBlock::default();
        for (line, hidden) in [
            ("before", false),
            ("-----BEGIN \u{1b}[0mRSA PRIVATE KEY-----", true),
            ("MIIEow", true),
            ("-----END RSA PRIVATE KEY-----", true),
            ("between", false),
            ("-----BEGIN PRIVATE KEY-----\\nMII\\n-----END PRIVATE KEY-----", true),
            ("between", false),
            ("-----END PRIVATE KEY----- -----BEGIN PRIVATE KEY-----", true),
            ("MIIEow", true),
            ("-----END PRIVATE KEY-----", true),
            ("-----BEGIN CERTIFICATE-----", false),
            ("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----", true),
            ("P2/56wAAAi", true),
            ("---- END SSH2 ENCRYPTED PRIVATE KEY ----", true),
            ("after", false),
        ] {
            assert_eq!(key.hides(line), hidden, "{line}");
        }
    }
}
