//! Foreign text made fit to be shown and sent on: no control characters, nothing invisible, bounded. Takes credentials out of
//! it. Pure.

use std::sync::Arc;

use cofferdam_contract::text::is_invisible;
use cofferdam_redact::{Effort, Matcher, Replacement};
use serde_json::Value;
use zeroize::Zeroizing;

/// The longest text of a server that goes into a sentence of ours.
const MAX_SAID: usize = 400;
/// A shorter value is no secret that could be told from other words.
const MIN_SECRET_BYTES: usize = 8;
/// Stands in a secret's place.
const MARK: &str = "[key]";

/// The text without control characters (but for line breaks and tabs) and without what is not seen; at most `max` characters.
pub(crate) fn clean(text: &str, max: usize) -> String {
    let seen = |c: &char| matches!(c, '\n' | '\t') || (!c.is_control() && !is_invisible(*c));
    text.chars().filter(seen).take(max).collect()
}

/// A text of a server, on one line, for a sentence of ours.
pub(crate) fn said(text: &str) -> String {
    clean(text, MAX_SAID).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The words of a schema that mean nothing to a validator.
const REMARKS: [&str; 5] = ["description", "title", "$comment", "examples", "default"];

/// Cleans what is only remarked in a schema, which models read as a whole. Returns false for one with what is not seen in its names or
/// values: those cannot be changed, and models would read what no person sees.
pub(crate) fn clean_schema(schema: &mut Value, scrub: &Scrub) -> bool {
    match schema {
        Value::Object(map) => map.iter_mut().all(|(key, value)| {
            let remark = REMARKS.contains(&key.as_str()) && !value.is_object();
            if remark {
                clean_value(value, scrub);
            }
            is_seen(key) && (remark || clean_schema(value, scrub))
        }),
        Value::Array(list) => list.iter_mut().all(|value| clean_schema(value, scrub)),
        Value::String(text) => {
            let seen = is_seen(text);
            *text = scrub.text(std::mem::take(text));
            seen
        }
        _ => true,
    }
}

fn is_seen(text: &str) -> bool {
    clean(text, usize::MAX).len() == text.len()
}

/// Cleans all texts and names within a value.
pub(crate) fn clean_value(value: &mut Value, scrub: &Scrub) {
    let shown = |text: &str| scrub.text(clean(text, usize::MAX));
    match value {
        Value::Object(map) => {
            for (key, mut value) in std::mem::take(map) {
                clean_value(&mut value, scrub);
                map.insert(shown(&key), value);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| clean_value(value, scrub)),
        Value::String(text) => *text = shown(text),
        _ => {}
    }
}

/// Bytes that a value takes in memory, about.
pub(crate) fn weight(value: &Value) -> usize {
    /// A value, with what a map or a list keeps for it.
    const NODE_BYTES: usize = 64;
    NODE_BYTES
        + match value {
            Value::Object(map) => map.iter().map(|(key, value)| key.len() + weight(value)).sum(),
            Value::Array(list) => list.iter().map(weight).sum(),
            Value::String(text) => text.len(),
            _ => 0,
        }
}

/// Takes the credentials of a connector out of what its server says.
#[derive(Clone, Default)]
pub(crate) struct Scrub(Option<(Arc<Matcher>, Arc<Vec<Replacement>>)>);

impl Scrub {
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let long: Vec<&[u8]> =
            secrets.into_iter().map(str::as_bytes).filter(|text| text.len() >= MIN_SECRET_BYTES).collect();
        if long.is_empty() {
            return Self(None);
        }
        let with = long.iter().map(|_| Ok(Zeroizing::new(MARK.as_bytes().to_vec()))).collect();
        // Credentials are bounded in number and length, so they can always be looked for.
        Self(Matcher::new(long).ok().map(|matcher| (Arc::new(matcher), Arc::new(with))))
    }

    /// A text of a server, on one line, for a sentence of ours. Cleaned first: what is not seen could part a credential.
    pub(crate) fn said(&self, text: &str) -> String {
        said(&self.shown(text, usize::MAX))
    }

    /// A text of a server, fit to be shown; cut last, so that no part of a credential is left at the end.
    pub(crate) fn shown(&self, text: &str, max: usize) -> String {
        self.text(clean(text, usize::MAX)).chars().take(max).collect()
    }

    /// The text without credentials; empty if it cannot be searched.
    pub(crate) fn text(&self, text: String) -> String {
        let Some((matcher, with)) = &self.0 else { return text };
        match matcher.replace_all(with, text.as_bytes(), &mut Effort::new(text.len())) {
            Ok(None) => text,
            Ok(Some(changed)) => String::from_utf8_lossy(&changed).into_owned(),
            Err(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_and_what_is_secret_goes() {
        assert_eq!(clean("a\u{1b}[31mb\u{202e}c\u{e0041}\nd", 100), "a[31mbc\nd");
        assert_eq!(said(" a \n b\u{0} "), "a b");
        let scrub = Scrub::new(["canary-0123", "short"]);
        assert_eq!(scrub.text("a canary-0123 short".to_owned()), "a [key] short");
        // Parted by what is not seen, and cut in the middle.
        assert_eq!(scrub.said("a can\u{200b}ary-0123"), "a [key]");
        assert_eq!(scrub.said(&format!("{} canary-0123", "x".repeat(395))), format!("{} [key", "x".repeat(395)));
        assert_eq!(scrub.shown("a canary-0123", 8), "a [key]");
    }

    #[test]
    fn a_schema_has_nothing_that_is_not_seen() {
        let scrub = Scrub::new(["canary-0123"]);
        let mut schema = serde_json::json!({"properties": {"default": {"description": "x\u{200b}y can\u{200b}ary-0123"},
            "b": {"examples": ["\u{e0041}b"], "default": "\u{202e}c", "const": "canary-0123"}}});
        assert!(clean_schema(&mut schema, &scrub));
        let expected = serde_json::json!({"properties": {"default": {"description": "xy [key]"},
            "b": {"examples": ["b"], "default": "c", "const": "[key]"}}});
        assert_eq!(schema, expected);
        for hidden in [
            serde_json::json!({"properties": {"a\u{200b}": {"type": "string"}}}),
            serde_json::json!({"properties": {"a": {"enum": ["x", "y\u{e0049}\u{e0067}"]}}}),
            serde_json::json!({"properties": {"a": {"const": "\u{1b}[8m"}}}),
            serde_json::json!({"properties": {"default": {"const": "\u{200b}"}}}),
        ] {
            assert!(!clean_schema(&mut hidden.clone(), &scrub), "{hidden}");
        }
    }
}
