//! Removes secrets from lines before they are stored or shown: the values that a workload was given, in every spelling,
//! private keys, and credentials of known shapes. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use cofferdam_core::Secret;

use crate::clean::clean;
use crate::everyday::{is_everyday, is_ours, sounds_secret};
use crate::key_block::headless;
use crate::{Finder, KeyBlock, Matcher, TooManySecrets, shapes};

/// Stands in a secret's place.
pub const MARK: &str = "[redacted]";

/// Shorter values would be found everywhere.
const MIN_VALUE_BYTES: usize = 6;
/// The minimum for values that are certainly secret. The API takes no shorter ones as secrets.
const MIN_SECRET_BYTES: usize = 4;
/// The minimum for a line of a value of several lines: shorter ones are such as `}`.
const MIN_LINE_BYTES: usize = 12;
/// Values are looked for in every spelling up to this many bytes together, and this many of them; of the rest, only the
/// value itself.
const MAX_SPELLED_BYTES: usize = 64 << 10;
const MAX_SPELLED_VALUES: usize = 256;
/// The size of a Kubernetes Secret.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// Takes the secrets of one workload out of its lines.
pub struct Redactor {
    /// Values in every spelling.
    spelled: Option<Matcher>,
    /// Values as they are.
    plain: Option<Finder>,
}

/// Never the values.
impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("values", &self.spelled.is_some()).finish()
    }
}

impl Redactor {
    /// Looks for the values of an environment: all of a name like `API_KEY`, and of the others those that are no
    /// everyday value such as a number, a word, a path or an address.
    /// The variables named in `secrets` are known to be secret, whatever their names and values look like.
    ///
    /// # Errors
    /// More values than can be looked for.
    pub fn for_env(env: &BTreeMap<String, Secret>, secrets: &[String]) -> Result<Self, TooManySecrets> {
        let mut values = Values::default();
        for (name, value) in env {
            let value = value.expose();
            if secrets.contains(name) || (sounds_secret(name) && !is_everyday(value)) {
                values.add(value, MIN_SECRET_BYTES)?;
            } else if sounds_secret(name) || !(is_ours(name) || is_everyday(value)) {
                values.add(value, MIN_VALUE_BYTES)?;
            }
        }
        values.redactor()
    }

    /// Looks for these values, except those shorter than 6 bytes.
    ///
    /// # Errors
    /// More values than can be looked for.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Result<Self, TooManySecrets> {
        let mut values = Values::default();
        for value in secrets {
            values.add(value, MIN_VALUE_BYTES)?;
        }
        values.redactor()
    }

    /// Redacts a single line for display: without terminal commands, without secrets, bounded in length. A private
    /// key that spans lines is hidden by [`KeyBlock`], which remembers the lines before.
    pub fn line<'a>(&self, line: &'a str) -> Cow<'a, str> {
        KeyBlock::default().show(self, line)
    }

    /// Redacts a text of any length for display, on one line: as [`Self::line`], but not bounded.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let text = clean(text);
        if KeyBlock::default().begins(&text) { Cow::Borrowed(MARK) } else { self.redact(text) }
    }

    /// Redacts a text as [`Self::text`], and leaves whole what is public, such as the name of an object that happens to
    /// contain a short value.
    pub fn text_beside<'a>(&self, text: &'a str, public: &[&str]) -> Cow<'a, str> {
        let text = clean(text);
        if KeyBlock::default().begins(&text) {
            return Cow::Borrowed(MARK);
        }
        let Some(mut spans) = self.spans(&text) else { return Cow::Borrowed(MARK) };
        let places = |name: &&str| -> Vec<Range<usize>> {
            if name.is_empty() {
                return Vec::new();
            }
            text.match_indices(*name).map(|(at, found)| at..at + found.len()).collect()
        };
        let public: Vec<Range<usize>> = public.iter().flat_map(places).collect();
        // A value that reaches beyond the name is no part of it.
        let inside = |span: &Range<usize>| public.iter().any(|at| at.start <= span.start && span.end <= at.end);
        spans.retain(|span| !inside(span));
        if spans.is_empty() { text } else { Cow::Owned(cut(&text, spans)) }
    }

    /// Consecutive lines, as they may be shown, one for each. The first may be in the middle of a private key.
    pub fn lines(&self, lines: &[String]) -> Vec<String> {
        let headless = headless(lines);
        let mut key = KeyBlock::default();
        let shown = lines.iter().skip(headless).map(|line| key.line(self, line));
        std::iter::repeat_n(MARK.to_owned(), headless).chain(shown).collect()
    }

    /// A clean line without values and without credentials of known shapes. All are looked for in the line as it is: a
    /// value in the middle of a credential does not hide it.
    pub(crate) fn redact<'a>(&self, line: Cow<'a, str>) -> Cow<'a, str> {
        match self.spans(&line) {
            None => Cow::Borrowed(MARK),
            Some(spans) if spans.is_empty() => line,
            Some(spans) => Cow::Owned(cut(&line, spans)),
        }
    }

    /// The places of values and credentials in a clean text; `None` if it resembles a value too much to be searched.
    fn spans(&self, text: &str) -> Option<Vec<Range<usize>>> {
        let mut spans = shapes::spans(text);
        if let Some(matcher) = &self.spelled {
            spans.extend(matcher.spans(text.as_bytes()).ok()?);
        }
        if let Some(finder) = &self.plain {
            spans.extend(finder.spans(text.as_bytes()));
        }
        Some(spans)
    }
}

/// The text with a mark in the place of the spans. Those that overlap become one.
fn cut(text: &str, mut spans: Vec<Range<usize>>) -> String {
    spans.sort_unstable_by_key(|span| span.start);
    let mut united = Vec::<Range<usize>>::with_capacity(spans.len());
    for span in spans {
        match united.last_mut() {
            Some(last) if span.start < last.end => last.end = last.end.max(span.end),
            _ => united.push(span),
        }
    }
    let (mut shown, mut done) = (Vec::with_capacity(text.len()), 0);
    for span in united {
        shown.extend_from_slice(text.as_bytes().get(done..span.start).unwrap_or_default());
        shown.extend_from_slice(MARK.as_bytes());
        done = span.end;
    }
    shown.extend_from_slice(text.as_bytes().get(done..).unwrap_or_default());
    // Digits of a value may begin or end within a character.
    String::from_utf8_lossy(&shown).into_owned()
}

/// The texts to look for, while they are collected.
#[derive(Default)]
struct Values {
    spelled: BTreeSet<Vec<u8>>,
    plain: BTreeSet<Vec<u8>>,
    bytes: usize,
}

impl Values {
    /// Adds a value, its lines, and its trimmed and cleaned forms.
    fn add(&mut self, value: &str, shortest: usize) -> Result<(), TooManySecrets> {
        self.add_text(value, shortest)?;
        // A value of several lines is never in one line as it is.
        if value.trim_end().contains('\n') {
            value.lines().map(str::trim).try_for_each(|line| self.add_text(line, MIN_LINE_BYTES))?;
        }
        if value.trim().len() < value.len() {
            self.add_text(value.trim(), shortest)?;
        }
        match clean(value.trim()) {
            Cow::Owned(cleaned) => self.add_text(&cleaned, shortest),
            Cow::Borrowed(_) => Ok(()),
        }
    }

    fn add_text(&mut self, text: &str, shortest: usize) -> Result<(), TooManySecrets> {
        if text.len() < shortest {
            return Ok(());
        }
        let is_new = !self.spelled.contains(text.as_bytes()) && !self.plain.contains(text.as_bytes());
        if !is_new {
            return Ok(());
        }
        self.bytes += text.len();
        if self.bytes > MAX_BYTES {
            return Err(TooManySecrets);
        }
        let fits = self.bytes <= MAX_SPELLED_BYTES && self.spelled.len() < MAX_SPELLED_VALUES;
        let texts = if fits { &mut self.spelled } else { &mut self.plain };
        texts.insert(text.as_bytes().to_vec());
        Ok(())
    }

    fn redactor(self) -> Result<Redactor, TooManySecrets> {
        let spelled = (!self.spelled.is_empty()).then(|| Matcher::new(self.spelled.iter().map(Vec::as_slice)));
        let plain = (!self.plain.is_empty()).then(|| Finder::new(self.plain.into_iter().collect()));
        let spelled = spelled.transpose().map_err(|_| TooManySecrets)?;
        Ok(Redactor { spelled, plain: plain.transpose().map_err(|_| TooManySecrets)? })
    }
}

#[cfg(test)]
#[path = "redactor_tests.rs"]
mod tests;
