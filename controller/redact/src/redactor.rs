//! Removes secrets from lines before they are stored or shown: the values that a workload was given, in all their
//! [`forms`](crate::forms), private keys, and credentials of known shapes. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use cofferdam_core::Secret;
use zeroize::Zeroizing;

use crate::clean::clean;
use crate::everyday::{is_everyday, is_ours, sounds_secret};
use crate::key_block::headless;
use crate::{Finder, KeyBlock, Replacement, TooManySecrets, forms, shapes};

/// Stands in a secret's place.
pub const MARK: &str = "[redacted]";

/// Shorter values would be found everywhere.
const MIN_VALUE_BYTES: usize = 6;
/// The minimum for values that are certainly secret. The API takes no shorter ones as secrets.
const MIN_SECRET_BYTES: usize = 4;
/// The minimum for a line of a value of several lines: shorter ones are such as `}`.
const MIN_LINE_BYTES: usize = 12;
/// Values are looked for in all forms up to this many bytes together; of the rest, only the value itself.
const MAX_BYTES_IN_ALL_FORMS: usize = 64 << 10;
/// The size of a Kubernetes Secret.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// Takes the secrets of one workload out of its lines.
pub struct Redactor {
    finder: Option<(Finder, Vec<Replacement>)>,
}

/// Never the values.
impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("values", &self.finder.is_some()).finish()
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

    /// Consecutive lines, as they may be shown, one for each. The first may be in the middle of a private key.
    pub fn lines(&self, lines: &[String]) -> Vec<String> {
        let headless = headless(lines);
        let mut key = KeyBlock::default();
        let shown = lines.iter().skip(headless).map(|line| key.line(self, line));
        std::iter::repeat_n(MARK.to_owned(), headless).chain(shown).collect()
    }

    /// A clean line without values and without credentials of known shapes.
    pub(crate) fn redact<'a>(&self, line: Cow<'a, str>) -> Cow<'a, str> {
        let line = match &self.finder {
            None => line,
            Some((finder, with)) => match finder.replace_all(with, line.as_bytes()) {
                Ok(None) => line,
                Ok(Some(bytes)) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
                // More is replaced than fits: the line is hidden.
                Err(_) => Cow::Borrowed(MARK),
            },
        };
        shapes::replace(line)
    }
}

/// The texts to look for, while they are collected.
#[derive(Default)]
struct Values {
    texts: Vec<Vec<u8>>,
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
        self.bytes += text.len();
        if self.bytes > MAX_BYTES {
            return Err(TooManySecrets);
        }
        if self.bytes > MAX_BYTES_IN_ALL_FORMS {
            self.texts.push(text.as_bytes().to_vec());
        } else {
            self.texts.extend(forms(text.as_bytes()));
        }
        Ok(())
    }

    fn redactor(mut self) -> Result<Redactor, TooManySecrets> {
        self.texts.sort_unstable();
        self.texts.dedup();
        if self.texts.is_empty() {
            return Ok(Redactor { finder: None });
        }
        let with = self.texts.iter().map(|_| Ok(Zeroizing::new(MARK.as_bytes().to_vec()))).collect();
        let finder = Finder::new(self.texts).map_err(|_| TooManySecrets)?;
        Ok(Redactor { finder: Some((finder, with)) })
    }
}

#[cfg(test)]
#[path = "redactor_tests.rs"]
mod tests;
