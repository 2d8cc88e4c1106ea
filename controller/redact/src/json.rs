//! Writes a value as encoders of JSON do, for spellings of what is encoded once more. Pure.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use zeroize::Zeroizing;

/// A value inside a JSON string, as encoders of several languages write it. Only what differs from the value.
pub(crate) fn json_texts(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let Some(plain) = std::str::from_utf8(value).ok().and_then(json_string) else { return Vec::new() };
    let ascii = ascii_only(&plain);
    let texts = BTreeSet::from([ascii.replace('/', "\\/"), ascii, plain]);
    texts.into_iter().map(|text| Zeroizing::new(text.into_bytes())).filter(|text| text.as_slice() != value).collect()
}

/// Without the quotes around it.
fn json_string(value: &str) -> Option<String> {
    let json = serde_json::to_string(value).ok()?;
    json.strip_prefix('"')?.strip_suffix('"').map(str::to_owned)
}

fn ascii_only(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string cannot fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_json_of_several_languages() {
        let texts = |value: &str| {
            let texts = json_texts(value.as_bytes());
            texts.iter().map(|text| String::from_utf8(text.to_vec()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(texts("sk-live-0123"), Vec::<String>::new());
        assert_eq!(texts("a/\u{e9}\"b"), ["a/\\u00e9\\\"b", "a/\u{e9}\\\"b", "a\\/\\u00e9\\\"b"]);
        assert!(json_texts(b"\xff\"").is_empty());
    }
}
