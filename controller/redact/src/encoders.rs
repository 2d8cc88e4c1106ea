//! Writes values as encoders of many languages do, for tests.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};

/// Numbers that are the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

pub(crate) fn percent(value: &str, plain: &str, plus: bool, upper: bool) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b' ' if plus => text.push('+'),
            byte if byte.is_ascii_alphanumeric() && plain.contains('a') => text.push(char::from(byte)),
            byte if !byte.is_ascii_alphanumeric() && plain.as_bytes().contains(&byte) => text.push(char::from(byte)),
            byte if upper => write!(text, "%{byte:02X}").unwrap(),
            byte => write!(text, "%{byte:02x}").unwrap(),
        }
        text
    })
}

fn each(value: &str, encode: impl Fn(char) -> Option<String>) -> String {
    value.chars().map(|c| encode(c).unwrap_or_else(|| c.to_string())).collect()
}

fn utf16(c: char, upper: bool) -> String {
    let units = c.encode_utf16(&mut [0; 2]).to_vec();
    units.iter().map(|unit| if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") }).collect()
}

/// As serde, Node and Ruby write it: without the quotes around.
pub(crate) fn json(value: &str) -> String {
    let json = serde_json::to_string(value).unwrap();
    json[1..json.len() - 1].to_owned()
}

pub(crate) fn json_ascii(value: &str) -> String {
    each(&json(value), |c| (!c.is_ascii()).then(|| utf16(c, false)))
}

fn json_go(value: &str) -> String {
    each(&json(value), |c| matches!(c, '&' | '<' | '>').then(|| utf16(c, false)))
}

pub(crate) fn json_php(value: &str) -> String {
    json_ascii(value).replace('/', "\\/")
}

fn html(value: &str, quote: &str) -> String {
    each(value, |c| {
        Some(match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            '\'' => quote.to_owned(),
            _ => return None,
        })
    })
}

fn javascript_escape(value: &str) -> String {
    each(value, |c| match u32::from(c) {
        _ if c.is_ascii_alphanumeric() || "@*_+-./".contains(c) => None,
        code @ 0..=255 => Some(format!("%{code:02X}")),
        _ => Some(utf16(c, true).replace('\\', "%")),
    })
}

/// Without the ends of lines.
pub(crate) fn quoted_printable(value: &str) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b' '..=b'~' if byte != b'=' => text.push(char::from(byte)),
            byte => write!(text, "={byte:02X}").unwrap(),
        }
        text
    })
}

/// The digits of base64 that depend on a value alone, in both alphabets.
pub(crate) fn own_digits(value: &str) -> Vec<String> {
    let digits = |before: usize| {
        let bytes = [&vec![0; before], value.as_bytes()].concat();
        let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        [BASE64_STANDARD.encode(&bytes)[first..end].to_owned(), BASE64_URL_SAFE.encode(&bytes)[first..end].to_owned()]
    };
    (0..3).flat_map(digits).collect()
}

/// Encoders that write each character for itself.
pub(crate) fn by_character(value: &str, random: &mut Random) -> Vec<(&'static str, String)> {
    let mut mixed = |encoders: &[fn(char) -> String]| {
        value.chars().map(|c| encoders[random.below(encoders.len())](c)).collect::<String>()
    };
    let encoders: [fn(char) -> String; 9] = [
        |c| c.to_string(),
        |c| percent(&c.to_string(), "", false, true),
        |c| percent(&c.to_string(), "", false, false),
        |c| utf16(c, true),
        |c| utf16(c, false),
        |c| format!("&#{};", u32::from(c)),
        |c| format!("&#x{:04X};", u32::from(c)),
        |c| utf16(c, false).replace('\\', "\\\\"),
        |c| utf16(c, false).replace('\\', "%5c"),
    ];
    vec![
        ("as it is", value.to_owned()),
        ("encodeURIComponent", percent(value, "a-_.!~*'()", false, true)),
        ("encodeURI", percent(value, "a-_.!~*'();/?:@&=+$,#", false, true)),
        ("RFC 3986, lower case", percent(value, "a-._~", false, false)),
        ("all %XX", percent(value, "", false, true)),
        ("all %xx", percent(value, "", false, false)),
        ("HTML form", percent(value, "a-._*", true, true)),
        ("twice in a URL", percent(&percent(value, "a-._~", false, true), "a-._~", false, true)),
        ("escape of JavaScript", javascript_escape(value)),
        ("JSON", json(value)),
        ("JSON of Python", json_ascii(value)),
        ("JSON of Go", json_go(value)),
        ("JSON of PHP", json_php(value)),
        ("JSON of Java: all escaped, upper case", value.chars().map(|c| utf16(c, true)).collect()),
        ("JSON in JSON", json(&json(value))),
        ("JSON of PHP in JSON of Go", json_go(&json_php(value))),
        ("JSON of Go in JSON of PHP", json_php(&json_go(value))),
        ("JSON of Python in JSON of Python", json_ascii(&json_ascii(value))),
        ("bytes of Python", value.bytes().map(|byte| format!("\\x{byte:02x}")).collect()),
        ("HTML, named", html(value, "&apos;")),
        ("HTML, as Go and Python", html(value, "&#39;")),
        ("HTML, all decimal", value.chars().map(|c| format!("&#{};", u32::from(c))).collect()),
        ("HTML, all hexadecimal", value.chars().map(|c| format!("&#x{:x};", u32::from(c))).collect()),
        ("HTML in JSON of Go", json_go(&html(value, "&#39;"))),
        ("HTML in HTML", html(&html(value, "&#39;"), "&#39;")),
        ("URL in JSON", json(&percent(value, "a/-._~", false, true))),
        ("quoted-printable", quoted_printable(value)),
        ("mixed", mixed(&encoders)),
        ("mixed again", mixed(&encoders)),
        ("mixed, few escapes", mixed(&[encoders[0], encoders[0], encoders[0], encoders[3]])),
    ]
}

pub(crate) fn lines(digits: &str, columns: usize, line_end: &str) -> String {
    let lines: Vec<&str> = digits.as_bytes().chunks(columns).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join(line_end)
}

/// Encoders into digits, in which the value may stand behind other bytes.
pub(crate) fn in_digits(value: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for before in 0..4 {
        let text = format!("{}{value}!", &"user:"[..before]);
        let (standard, url) = (BASE64_STANDARD.encode(&text), BASE64_URL_SAFE.encode(&text));
        all.push((format!("base64 after {before}"), standard.clone()));
        all.push((format!("base64 for URLs after {before}"), url));
        all.push((format!("base64 in a form after {before}"), percent(&standard, "a", false, true)));
        all.push((format!("base64 in JSON of PHP after {before}"), json_php(&standard)));
        let long = BASE64_STANDARD.encode(format!("{}{text}{}", "u".repeat(51), "v".repeat(90)));
        all.push((format!("MIME after {before}"), lines(&long, 76, "\r\n")));
        all.push((format!("MIME in JSON after {before}"), lines(&long, 76, "\\r\\n")));
        all.push((format!("MIME in JSON in JSON after {before}"), lines(&long, 64, "\\\\n")));
        all.push((format!("MIME in a form after {before}"), lines(&long, 76, "%0D%0A")));
        all.push((format!("MIME in HTML after {before}"), lines(&long, 76, "&#13;&#10;")));
        all.push((format!("indented after {before}"), lines(&long, 61, "\n        ")));
        for columns in [24, 25, 26, 27, 29, 31, 60] {
            all.push((format!("{columns} columns after {before}"), lines(&standard, columns, "\r\n")));
        }
    }
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    all.push(("hex".to_owned(), hex.clone()));
    all.push(("hex, upper case".to_owned(), hex.to_uppercase()));
    all.push(("hex in lines".to_owned(), lines(&hex, 24, "\n")));
    all
}
