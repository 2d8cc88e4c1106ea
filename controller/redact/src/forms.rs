//! The forms in which a value comes back: as it is, percent-encoded, in JSON, in base64 at any offset of a longer text.
//! Pure.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

/// Shorter forms would be found where no secret is.
const MIN_BASE64_BYTES: usize = 8;

/// All forms of a value, each once.
pub fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![value.to_vec()];
    // Encoders differ in what they leave as it is: RFC 3986, HTML forms, path segments, paths.
    for (plain, plus) in [(&b"-._~"[..], false), (b"-._*", true), (b"-._~!$&'()*+,;=:@", false), (b"-._~/", false)] {
        for upper in [true, false] {
            forms.push(percent(value, plain, plus, upper));
        }
    }
    if let Ok(text) = std::str::from_utf8(value) {
        forms.extend(json(text));
    }
    forms.extend(base64(value));
    forms.retain(|form| !form.is_empty());
    forms.sort_unstable();
    forms.dedup();
    forms
}

/// A value for a URL: every byte that could be anything but a part of the value is encoded.
pub fn percent_encoded(value: &[u8]) -> Vec<u8> {
    percent(value, b"-._~", false, true)
}

fn percent(value: &[u8], plain: &[u8], plus: bool, upper: bool) -> Vec<u8> {
    let mut text = String::with_capacity(value.len());
    for byte in value {
        // Writing to a string cannot fail.
        let _ = match byte {
            b' ' if plus => text.write_char('+'),
            byte if byte.is_ascii_alphanumeric() || plain.contains(byte) => text.write_char(char::from(*byte)),
            byte if upper => write!(text, "%{byte:02X}"),
            byte => write!(text, "%{byte:02x}"),
        };
    }
    text.into_bytes()
}

/// A value inside a JSON string, as encoders of several languages write it, and inside JSON in a JSON string.
fn json(value: &str) -> Vec<Vec<u8>> {
    let Some(plain) = json_string(value) else { return Vec::new() };
    let slashes = plain.replace('/', "\\/");
    let in_html = plain.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
    let nested = json_string(&plain).unwrap_or_default();
    let texts = [ascii_only(&plain), ascii_only(&slashes), plain, slashes, in_html, nested];
    texts.into_iter().map(String::into_bytes).collect()
}

/// Without the quotes around it.
fn json_string(value: &str) -> Option<String> {
    let json = serde_json::to_string(value).ok()?;
    // A value that begins with a quote loses nothing: JSON has a backslash there.
    json.trim_start_matches('"').strip_suffix('"').map(str::to_owned)
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

/// The base64 digits that depend on the value alone, when 0, 1 or 2 bytes stand before it in a group of three.
fn base64(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(value);
        let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        for text in [BASE64_STANDARD_NO_PAD.encode(&bytes), BASE64_URL_SAFE_NO_PAD.encode(&bytes)] {
            let own = text.as_bytes().get(first..end).unwrap_or_default();
            if own.len() >= MIN_BASE64_BYTES {
                forms.push(own.to_vec());
            }
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};

    fn found(value: &str, text: &str) -> bool {
        forms(value.as_bytes()).iter().any(|form| text.contains(std::str::from_utf8(form).unwrap()))
    }

    #[test]
    fn a_value_is_known_in_all_its_forms() {
        let value = "pa/ss wörd+\"quoted\"\\&=x?~";
        for text in [
            "pa/ss wörd+\"quoted\"\\&=x?~",
            "pa%2Fss%20w%C3%B6rd%2B%22quoted%22%5C%26%3Dx%3F~",
            "pa%2fss%20w%c3%b6rd%2b%22quoted%22%5c%26%3dx%3f~",
            "a=pa%2Fss+w%C3%B6rd%2B%22quoted%22%5C%26%3Dx%3F%7E&b",
            r#"{"a":"pa/ss wörd+\"quoted\"\\&=x?~"}"#,
            r#"{"a":"pa\/ss wörd+\"quoted\"\\&=x?~"}"#,
            r#"{"a":"pa/ss w\u00f6rd+\"quoted\"\\&=x?~"}"#,
            r#"{"a":"pa\/ss w\u00f6rd+\"quoted\"\\&=x?~"}"#,
            r#"{"a":"pa/ss wörd+\"quoted\"\\\u0026=x?~"}"#,
            r#"{"a":"{\"b\":\"pa/ss wörd+\\\"quoted\\\"\\\\&=x?~\"}"}"#,
        ] {
            assert!(found(value, text), "{text}");
        }
        assert!(!found(value, "pa/ss"));
    }

    #[test]
    fn base64_at_every_offset_and_in_both_alphabets() {
        for value in ["hunter22", "sk-live-Zz>>>???~~~ \u{7f}123", "0123456789abcdef0123456789abcdef"] {
            for before in 0..7 {
                for after in 0..4 {
                    let text = format!("{}{value}{}", "u".repeat(before), "v".repeat(after));
                    for encoded in [BASE64_STANDARD.encode(&text), BASE64_URL_SAFE.encode(&text)] {
                        assert!(found(value, &encoded), "{value} {before} {after}");
                    }
                }
            }
        }
        assert!(!found("hunter22", &BASE64_STANDARD.encode("hunter33")));
        assert_eq!(base64(b"tiny"), Vec::<Vec<u8>>::new());
    }
}
