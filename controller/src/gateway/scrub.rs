//! The forms in which a secret's value may come back: as it is, percent-encoded, in JSON, in base64 at any offset of a
//! longer text. A server that turns it into something else is one that the secret should not have been bound to. Pure.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

/// Shorter forms would be found where nothing is.
const SHORTEST_BASE64: usize = 8;

/// Every form, without doubles.
pub fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![value.to_vec()];
    // What is left as it is differs between encoders: nothing but the unreserved, forms, and paths.
    for (plain, plus) in [(&b"-._~"[..], false), (b"-._*", true), (b"-._~!$&'()*+,;=:@", false), (b"-._~/", false)] {
        for upper in [true, false] {
            forms.push(percent(value, plain, plus, upper));
        }
    }
    if let Ok(text) = std::str::from_utf8(value)
        && let Ok(json) = serde_json::to_string(text)
    {
        let inner = json.trim_start_matches('"').strip_suffix('"').unwrap_or_default().to_owned();
        // A value that begins with a quote has lost nothing: JSON has a backslash there.
        forms.push(inner.replace('/', "\\/").into_bytes());
        forms.push(inner.into_bytes());
    }
    forms.extend(base64(value));
    forms.retain(|form| !form.is_empty());
    forms.sort_unstable();
    forms.dedup();
    forms
}

fn percent(value: &[u8], plain: &[u8], plus: bool, upper: bool) -> Vec<u8> {
    let mut text = String::with_capacity(value.len());
    for byte in value {
        match byte {
            b' ' if plus => text.push('+'),
            byte if byte.is_ascii_alphanumeric() || plain.contains(byte) => text.push(char::from(*byte)),
            byte if upper => text.push_str(&format!("%{byte:02X}")),
            byte => text.push_str(&format!("%{byte:02x}")),
        }
    }
    text.into_bytes()
}

/// A value for a URL: nothing of it can be anything but a value.
pub fn percent_encoded(value: &[u8]) -> Vec<u8> {
    percent(value, b"-._~", false, true)
}

/// The digits that depend on the value alone, when 0, 1 or 2 bytes stand before it in a group of three.
fn base64(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(value);
        let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        for text in [BASE64_STANDARD_NO_PAD.encode(&bytes), BASE64_URL_SAFE_NO_PAD.encode(&bytes)] {
            let own = text.as_bytes().get(first..end).unwrap_or_default();
            if own.len() >= SHORTEST_BASE64 {
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
