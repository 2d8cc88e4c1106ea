//! Finds a secret that a server repeats in another form: escaped for a URL, JSON or HTML, in base64 or hex, or broken up by
//! characters that nobody sees. Pure. It cannot know a form of a server's own invention.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// Shorter secrets are searched as they are: as a part of decoded bytes they would be found everywhere.
const MIN_DECODED_BYTES: usize = 4;
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// True if the text has one of the secrets in it.
pub(crate) fn repeats<'a>(text: &str, secrets: impl Iterator<Item = &'a str>) -> bool {
    let secrets: Vec<(&str, Zeroizing<String>)> =
        secrets.filter(|secret| !secret.is_empty()).map(|secret| (secret, Zeroizing::new(bare(secret)))).collect();
    if secrets.is_empty() {
        return false;
    }
    let mut forms = vec![text.to_owned(), bare(text)];
    forms.extend([from_url(text), from_json(text), from_html(text)].iter().map(|form| bare(form)));
    let has = |(exact, bare): &(&str, Zeroizing<String>)| {
        forms.iter().any(|form| form.contains(*exact) || (!bare.is_empty() && form.contains(bare.as_str())))
    };
    if secrets.iter().any(has) {
        return true;
    }
    let decoded: Vec<Vec<u8>> = forms.iter().flat_map(|form| from_base64(form).chain(from_hex(form))).collect();
    secrets.iter().filter(|(exact, _)| exact.len() >= MIN_DECODED_BYTES).any(|(exact, _)| {
        decoded.iter().any(|bytes| bytes.windows(exact.len()).any(|window| window == exact.as_bytes()))
    })
}

/// The text without what is not seen, and without backslashes: they may stand before any character.
fn bare(text: &str) -> String {
    text.chars().filter(|c| cofferdam_text::is_shown(*c) && !c.is_whitespace() && *c != '\\').collect()
}

fn from_url(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// With the characters of `\u0041` in their places.
fn from_json(text: &str) -> String {
    let mut parts = text.split("\\u");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let c = part.get(..4).and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
        match (c, part.get(4..)) {
            (Some(c), Some(rest)) => out.extend([&*c.to_string(), rest]),
            _ => out.push_str(part),
        }
    }
    out
}

fn from_html(text: &str) -> String {
    let names = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&apos;", "'"), ("&#39;", "'")];
    names.iter().fold(text.to_owned(), |text, (name, c)| text.replace(name, c)).replace("&amp;", "&")
}

/// The bytes of all that may be base64, with either alphabet. Words before it may shift it by up to three characters.
fn from_base64(text: &str) -> impl Iterator<Item = Vec<u8>> {
    let text = text.replace('-', "+").replace('_', "/");
    let runs: Vec<String> =
        text.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '/')).map(str::to_owned).collect();
    runs.into_iter().flat_map(|run| {
        (0..4).filter_map(move |skipped| {
            let part = run.get(skipped..)?;
            let whole = if part.len() % 4 == 1 { part.len() - 1 } else { part.len() };
            LENIENT.decode(part.get(..whole)?).ok()
        })
    })
}

/// The bytes of all that may be hex, as `68:75` too.
fn from_hex(text: &str) -> impl Iterator<Item = Vec<u8>> {
    let text = text.replace("0x", "").replace("\\x", "").replace([':', '-', ' '], "");
    let runs: Vec<String> = text.split(|c: char| !c.is_ascii_hexdigit()).map(str::to_owned).collect();
    runs.into_iter().flat_map(|run| {
        (0..2).filter_map(move |skipped| {
            let part = run.get(skipped..)?;
            hex::decode(part.get(..part.len() / 2 * 2)?).ok()
        })
    })
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

    use super::*;

    const PASSWORD: &str = "h\u{fc}nter2?>\"<\\& x";

    #[test]
    fn a_secret_is_found_in_every_usual_form() {
        let pair = format!("alice:{PASSWORD}");
        let url: String = url::form_urlencoded::byte_serialize(PASSWORD.as_bytes()).collect();
        let mut forms = vec![
            PASSWORD.to_owned(),
            url.to_lowercase(),
            url.replace('+', "%20"),
            url,
            serde_json::to_string(PASSWORD).unwrap(),
            serde_json::to_string(PASSWORD).unwrap().replace('<', "\\u003c").replace('\u{fc}', "\\u00FC"),
            PASSWORD.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;"),
            hex::encode(PASSWORD),
            hex::encode_upper(&pair),
            hex::encode(PASSWORD).as_bytes().chunks(2).map(|c| String::from_utf8_lossy(c) + ":").collect(),
            PASSWORD.chars().flat_map(|c| [c, '\u{200b}']).collect(),
            PASSWORD.chars().flat_map(|c| [c, '\u{2800}', '\n']).collect(),
            STANDARD.encode(&pair).chars().flat_map(|c| [c, '\u{2063}']).collect(),
        ];
        for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
            forms.extend([PASSWORD, &pair, &format!("Basic {pair}")].map(|text| engine.encode(text)));
        }
        for form in forms {
            for text in [form.clone(), format!("you sent Basic {form}, no"), format!("token={form}&x=1")] {
                assert!(repeats(&text, [PASSWORD].into_iter()), "{text}");
            }
        }
    }

    #[test]
    fn other_words_are_not_taken_for_a_secret() {
        let text = "denied: requested access to the resource is denied (dGVhbS9hZ2VudA==, 7465616d2f6167656e74)";
        assert!(!repeats(text, ["", PASSWORD, "hunter2"].into_iter()));
        assert!(!repeats(text, std::iter::empty()));
    }
}
