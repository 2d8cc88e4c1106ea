//! Whatever an encoder makes of a value, and however the stream is cut, the value is not in what goes on; and ordinary
//! text goes on as it is.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use bytes::Bytes;
use zeroize::Zeroizing;

use super::*;
use crate::{Finder, Replacer, forms};

const MARK: &str = "cofferdam-secret-0";

const VALUES: [&str; 6] = [
    "hunter22-correct-horse",
    "pa/ss wörd+\"1\"\\&<2>='x'%41?~",
    "😀/é\n\t& \"key\"",
    "sk>>>???~~~ key-123",
    "%\\&+ %5C",
    "a1b2c3",
];

fn replacer(values: &[&str]) -> impl Fn() -> Replacer + use<> {
    let matcher = Arc::new(Matcher::new(values.iter().map(|value| value.as_bytes())).unwrap());
    let with: Arc<Vec<Replacement>> =
        Arc::new(values.iter().map(|_| Ok(Zeroizing::new(MARK.as_bytes().to_vec()))).collect());
    move || Replacer::new(Arc::clone(&matcher), Arc::clone(&with), usize::MAX)
}

fn run(mut replacer: Replacer, pieces: &[&[u8]]) -> String {
    let mut output = Vec::new();
    for piece in pieces {
        output.extend_from_slice(&replacer.push(Bytes::copy_from_slice(piece)).unwrap());
    }
    output.extend_from_slice(&replacer.finish().unwrap());
    String::from_utf8(output).unwrap()
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

fn percent(value: &str, plain: &str, plus: bool, upper: bool) -> String {
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
fn json(value: &str) -> String {
    let json = serde_json::to_string(value).unwrap();
    json[1..json.len() - 1].to_owned()
}

fn json_ascii(value: &str) -> String {
    each(&json(value), |c| (!c.is_ascii()).then(|| utf16(c, false)))
}

fn json_go(value: &str) -> String {
    each(&json(value), |c| matches!(c, '&' | '<' | '>').then(|| utf16(c, false)))
}

fn json_php(value: &str) -> String {
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

/// Encoders that write each character for itself.
fn by_character(value: &str, random: &mut Random) -> Vec<(&'static str, String)> {
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
        ("mixed", mixed(&encoders)),
        ("mixed again", mixed(&encoders)),
        ("mixed, few escapes", mixed(&[encoders[0], encoders[0], encoders[0], encoders[3]])),
    ]
}

fn lines(digits: &str, columns: usize, line_end: &str) -> String {
    let lines: Vec<&str> = digits.as_bytes().chunks(columns).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join(line_end)
}

/// Encoders into digits, in which the value may stand behind other bytes.
fn in_digits(value: &str) -> Vec<(String, String)> {
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
        for columns in [1, 2, 3, 5, 7, 13, 19] {
            all.push((format!("{columns} columns after {before}"), lines(&standard, columns, "\r\n")));
        }
    }
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    all.push(("hex".to_owned(), hex.clone()));
    all.push(("hex, upper case".to_owned(), hex.to_uppercase()));
    all.push(("hex in lines".to_owned(), lines(&hex, 7, "\n")));
    all
}

/// All cuts into two pieces, and cuts into many.
fn for_each_cut(bytes: &[u8], mut check: impl FnMut(&[&[u8]])) {
    for at in 0..=bytes.len() {
        check(&[&bytes[..at], &bytes[at..]]);
    }
    for size in [1, 2, 3, 7] {
        check(&bytes.chunks(size).collect::<Vec<_>>());
    }
}

#[test]
fn no_encoder_and_no_cut_shows_a_value() {
    let mut random = Random(7);
    for value in VALUES {
        let make = replacer(&[value]);
        for (name, encoded) in by_character(value, &mut random) {
            for (before, after) in [("", ""), ("{\"k\": \"", "\"}"), ("hu100% \\& p sk>", "h&%\\")] {
                let text = format!("{before}{encoded}{after}");
                let expected = format!("{before}{MARK}{after}");
                for_each_cut(text.as_bytes(), |pieces| {
                    assert_eq!(run(make(), pieces), expected, "{name}: {text} in {} pieces", pieces.len());
                });
            }
        }
    }
}

#[test]
fn no_digits_and_no_cut_show_a_value() {
    for value in VALUES {
        let make = replacer(&[value]);
        let forms = forms(value.as_bytes()).into_iter().map(|form| String::from_utf8(form).unwrap().to_lowercase());
        let mut hidden: Vec<String> = forms.collect();
        hidden.push(value.bytes().map(|byte| format!("{byte:02x}")).collect());
        for (name, encoded) in in_digits(value) {
            let text = format!("a=\"{encoded}\" %");
            let whole = run(make(), &[text.as_bytes()]);
            assert!(whole.contains(MARK), "{name}: {text}");
            let joined = whole.replace("%0D%0A", "").replace("&#13;&#10;", "").replace("\\\\n", "");
            let joined =
                joined.replace("\\r", "").replace("\\n", "").replace("\\/", "/").replace(['\r', '\n', ' '], "");
            let joined = joined.replace("%2B", "+").replace("%2F", "/").to_lowercase();
            assert!(!hidden.iter().any(|form| joined.contains(form.as_str())), "{name}: {whole}");
            for_each_cut(text.as_bytes(), |pieces| {
                assert_eq!(run(make(), pieces), whole, "{name}: {text} in {} pieces", pieces.len());
            });
        }
    }
}

/// Text of many kinds that holds no value but all that spellings are made of.
fn ordinary(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 1_000);
    let mut random = Random(1);
    while text.len() < bytes {
        let number = random.below(1 << 30);
        writeln!(
            text,
            r#"{{"id": {number}, "name": "user {}", "url": "https://h{}.example/a%20b?q=1&r={number}", "tags": ["hunt", "key"],
  "text": "The horse said:\n\"correct, \u00e9 &amp; é\"\r\n", "data": "{}", "sha": "{number:016x}", "path": "C:\\x\\y"}},"#,
            number % 97,
            number % 13,
            BASE64_STANDARD.encode(number.to_string().repeat(3)),
        )
        .unwrap();
    }
    text
}

/// An answer of an API: JSON in one line, an escape in each twentieth record.
fn records(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 1_000);
    let mut random = Random(2);
    while text.len() < bytes {
        let number = random.below(1 << 30);
        let quote = if number.is_multiple_of(20) { "\\\"so\\\"" } else { "so" };
        write!(
            text,
            r#"{{"id":{number},"login":"user{}","created_at":"2026-11-30T10:{:02}:00Z","url":"https://api.example/users/{number}","#,
            number % 97,
            number % 60,
        )
        .unwrap();
        write!(text, r#""admin":false,"score":0.{number},"bio":"The horse said {quote} to the hunter, and left."}},"#)
            .unwrap();
    }
    text
}

#[test]
fn ordinary_text_passes_as_it_is() {
    let make = replacer(&VALUES);
    let text = ordinary(20_000);
    for size in [1, 3, 100, 1_000, 1 << 20] {
        assert!(run(make(), &text.as_bytes().chunks(size).collect::<Vec<_>>()) == text, "{size}");
    }
    let bytes: Vec<u8> = (0..=255).collect::<Vec<u8>>().repeat(3);
    let mut replacer = make();
    let mut output = replacer.push(Bytes::from(bytes.clone())).unwrap().to_vec();
    output.extend_from_slice(&replacer.finish().unwrap());
    assert!(output == bytes);
    for near in ["hunter22-correct-hors", "hunter22-correct-horsf", "a1b2c", "%61%31%62%32%63", "a1b2c%34", "a1\\u0062"]
    {
        for_each_cut(near.as_bytes(), |pieces| assert_eq!(run(make(), pieces), near));
    }
}

#[test]
fn only_what_could_become_a_value_is_held_back() {
    let make = replacer(&["secret-of-mine"]);
    let mut replacer = make();
    let piece = Bytes::from_static(b"nothing to see\n\n");
    let passed = replacer.push(piece.clone()).unwrap();
    assert_eq!(passed.as_ptr(), piece.as_ptr(), "a piece without a value is not copied");
    for (piece, passed) in [
        ("data: se", "data: "),
        ("ven\n\n", "seven\n\n"),
        ("sec%72et-of-min", ""),
        ("d \\u0073e", "sec%72et-of-mind "),
        ("c\n\n", "\\u0073ec\n\n"),
    ] {
        assert_eq!(replacer.push(Bytes::from(piece)).unwrap(), passed, "{piece}");
    }
    assert_eq!(replacer.finish().unwrap(), "");
}

#[test]
fn the_longest_of_several_values_and_all_of_them() {
    let make = replacer(&["hunter22", "hunter22-correct-horse", "horse-power"]);
    for (text, expected) in [
        ("hunter22-correct-horse hunter22", "[] []"),
        ("hunter22-correct-hors%65", "[]"),
        ("hunter22-correct-hors", "[]-correct-hors"),
        ("hunter22hunter%32%32hunter22", "[][][]"),
        ("hunter22-correct-horse-power", "[]-power"),
        ("\\hunter22\\", "\\[]\\"),
    ] {
        for_each_cut(text.as_bytes(), |pieces| assert_eq!(run(make(), pieces), expected.replace("[]", MARK), "{text}"));
    }
}

#[test]
fn names_of_headers_are_searched_in_any_case() {
    let matcher = Matcher::new([&b"Sk-Live-0123/x"[..]]).unwrap();
    for (name, holds) in [
        ("x-sk-live-0123/x", true),
        ("sk-live-0123%2fx", true),
        ("x-c2stbgl2zs0wmtizl3g", false),
        ("u2sttgl2zs0wmtizl3g", true),
        ("x-536b2d4c6976652d303132332f78-y", true),
        ("sk-live", false),
        ("content-type", false),
        ("", false),
    ] {
        assert_eq!(matcher.is_in_name(name.as_bytes()), holds, "{name}");
    }
}

#[test]
fn texts_that_resemble_a_long_value_cost_a_bounded_time() {
    let value = "v".repeat(16 << 10);
    let started = Instant::now();
    for (value, unit) in [(&value, "v"), (&value, "%76"), (&value, "dnZ2"), (&"\\".repeat(16 << 10), "\\")] {
        let matcher = Matcher::new([value.as_bytes()]).unwrap();
        let text = [unit.repeat(8 << 10), "w".to_owned()].concat();
        let mut few = Steps(1 << 17);
        let ended = matcher.replace(&[], text.as_bytes(), false, &mut 0, &mut few);
        assert!(ended.is_err_and(|why| why.0.contains("too many places")), "{unit}");
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let with = [Ok(Zeroizing::new(Vec::new()))];
    let matcher = Matcher::new([value.as_bytes()]).unwrap();
    assert_eq!(matcher.replace_all(&with, value.as_bytes()), Ok(Some(Vec::new())));
    let escaped: String = value.bytes().map(|byte| format!("\\\\u{byte:04x}")).collect();
    assert_eq!(matcher.replace_all(&with, escaped.as_bytes()), Ok(Some(Vec::new())));
}

/// Figures: `cargo test --config 'profile.dev.package.cofferdam-redact.opt-level=3' -- --ignored --nocapture speed`, which
/// optimizes as the release does.
#[test]
#[ignore = "a measurement"]
fn speed_beside_the_list_of_forms() {
    let values =
        ["sk-live-0123456789abcdef0123456789", "ghp_0123456789abcdefghijklmnopqrstuvwxyz", "hunter22-correct-horse"];
    let texts: Vec<Vec<u8>> = values.iter().flat_map(|value| forms(value.as_bytes())).collect();
    let with: Arc<Vec<Replacement>> = Arc::new(texts.iter().map(|_| Ok(Zeroizing::new(Vec::new()))).collect());
    let finder = Arc::new(Finder::new(texts).unwrap());
    let make = replacer(&values);
    let mut compact = ordinary(4 << 20).replace(['\n'], "");
    compact.truncate(4 << 20);
    for (kind, text) in
        [("many escapes", ordinary(4 << 20)), ("the same in one line", compact), ("records", records(4 << 20))]
    {
        let pieces: Vec<Bytes> = text.as_bytes().chunks(16 << 10).map(Bytes::copy_from_slice).collect();
        let time = |mut replacer: Replacer| {
            let started = Instant::now();
            let bytes: usize = (0..16).flat_map(|_| &pieces).map(|p| replacer.push(p.clone()).unwrap().len()).sum();
            assert!(bytes >= 63 << 20);
            started.elapsed()
        };
        let (mut old, mut new) = (Duration::MAX, Duration::MAX);
        for _ in 0..7 {
            old = old.min(time(Replacer::new(Arc::clone(&finder), Arc::clone(&with), usize::MAX)));
            new = new.min(time(make()));
        }
        let quotient = new.as_secs_f64() / old.as_secs_f64();
        writeln!(std::io::stderr(), "{kind}: 64 MiB by forms {old:?}, by rule {new:?}, {quotient:.2}").unwrap();
    }
}
