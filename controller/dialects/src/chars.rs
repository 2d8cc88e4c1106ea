//! Texts of upstreams that hold half a character: JSON's escapes can name one half of a surrogate pair, which no Rust text
//! holds. A half becomes U+FFFD; one at the end of a stream's piece waits for the next piece, which may begin with the other.
//! Never loses the text around it.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::fields::{Key, is_string};
use crate::stream::Delta;

/// Stands for half a character whose other half does not come.
pub(crate) const UNKNOWN: &str = "\u{FFFD}";

/// A text of an upstream, without the halves of characters that it may begin and end with.
#[derive(Debug)]
pub(crate) struct Chars<'a> {
    low: Option<u16>,
    text: Cow<'a, str>,
    high: Option<u16>,
}

impl<'a> Chars<'a> {
    /// Decodes a JSON string; what else is written there is none.
    pub(crate) fn of(raw: &'a RawValue) -> Option<Self> {
        if !is_string(raw) {
            return None;
        }
        match serde_json::from_str::<Key<'_>>(raw.get()) {
            Ok(Key(text)) => Some(text.into()),
            // The grammar of a raw value has been checked, so that only its halves can be wrong.
            Err(_) => Some(decode(raw.get())),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.low.is_none() && self.high.is_none()
    }

    /// The text by itself, with U+FFFD for the halves at its ends.
    pub(crate) fn whole(self) -> Cow<'a, str> {
        if self.low.is_none() && self.high.is_none() {
            return self.text;
        }
        let before = self.low.map_or("", |_| UNKNOWN);
        let after = self.high.map_or("", |_| UNKNOWN);
        Cow::Owned(format!("{before}{}{after}", self.text))
    }

    /// Gives it on as a piece of a block.
    pub(crate) fn give(&self, block: u32, each: &mut impl FnMut(Delta<'_>)) {
        if let Some(unit) = self.low {
            each(Delta::Low { block, unit });
        }
        if !self.text.is_empty() {
            each(Delta::Piece { block, text: &self.text });
        }
        if let Some(unit) = self.high {
            each(Delta::High { block, unit });
        }
    }
}

impl<'a> From<Cow<'a, str>> for Chars<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self { low: None, text, high: None }
    }
}

impl<'a> From<&'a str> for Chars<'a> {
    fn from(text: &'a str) -> Self {
        Cow::Borrowed(text).into()
    }
}

/// The character of two halves.
pub(crate) fn join(high: u16, low: u16) -> Option<char> {
    char::decode_utf16([high, low]).next()?.ok()
}

fn decode(json: &str) -> Chars<'static> {
    let inner = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
    let mut text = String::with_capacity(inner.len());
    let (mut first, mut waiting) = (None, None);
    let mut rest = inner;
    while !rest.is_empty() {
        let (unit, after) = match rest.strip_prefix('\\') {
            None => {
                let (plain, after) = rest.split_at(rest.find('\\').unwrap_or(rest.len()));
                if waiting.take().is_some() {
                    text.push_str(UNKNOWN);
                }
                text.push_str(plain);
                rest = after;
                continue;
            }
            Some(escape) => match escape.strip_prefix('u').and_then(|hex| hex.split_at_checked(4)) {
                Some((hex, after)) => (u16::from_str_radix(hex, 16).unwrap_or(0xFFFD), after),
                None => {
                    let mut chars = escape.chars();
                    let unit = match chars.next().unwrap_or('\u{FFFD}') {
                        'n' => u16::from(b'\n'),
                        't' => u16::from(b'\t'),
                        'r' => u16::from(b'\r'),
                        'b' => 8,
                        'f' => 12,
                        same => u16::try_from(u32::from(same)).unwrap_or(0xFFFD),
                    };
                    (unit, chars.as_str())
                }
            },
        };
        rest = after;
        if let Some(c) = waiting.and_then(|high| join(high, unit)) {
            text.push(c);
            waiting = None;
            continue;
        }
        if waiting.take().is_some() {
            text.push_str(UNKNOWN);
        }
        match char::from_u32(u32::from(unit)) {
            Some(c) => text.push(c),
            None if unit < 0xDC00 => waiting = Some(unit),
            None if text.is_empty() && first.is_none() => first = Some(unit),
            None => text.push_str(UNKNOWN),
        }
    }
    Chars { low: first, text: Cow::Owned(text), high: waiting }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chars(json: &str) -> (Option<u16>, String, Option<u16>) {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        let chars = Chars::of(raw).unwrap();
        (chars.low, chars.text.into_owned(), chars.high)
    }

    #[test]
    fn halves_are_told_and_the_text_stays() {
        assert_eq!(chars(r#""a\ud83d\ude00b""#), (None, "a\u{1F600}b".into(), None));
        assert_eq!(chars(r#""a\ud83d b\n\"\\\/\u00e9""#), (None, "a\u{FFFD} b\n\"\\/\u{e9}".into(), None));
        assert_eq!(chars(r#""a\t\b\f\r\ud83d""#), (None, "a\t\u{8}\u{c}\r".into(), Some(0xD83D)));
        assert_eq!(chars(r#""\ude00a\ude00""#), (Some(0xDE00), "a\u{FFFD}".into(), None));
        assert_eq!(chars(r#""\ude00\ude00\ud83d\ud83d""#), (Some(0xDE00), "\u{FFFD}\u{FFFD}".into(), Some(0xD83D)));
        assert_eq!(chars(r#""\ud83d\ud83d\ude00""#), (None, "\u{FFFD}\u{1F600}".into(), None));
        assert_eq!(chars(r#""\uD83D\u0041é""#), (None, "\u{FFFD}Aé".into(), None));
        assert_eq!(chars(r#""""#), (None, String::new(), None));
    }
}
