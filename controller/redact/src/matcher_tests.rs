//! Whatever an encoder makes of a value, and however the stream is cut, the value is not in what goes on; and ordinary
//! text goes on as it is.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use zeroize::Zeroizing;

use super::*;
use crate::Replacer;
use crate::encoders::{
    Random, by_character, in_digits, json, json_ascii, json_php, lines, own_digits, quoted_printable,
};

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

/// The text without what may stand between digits, and without the ways to write `+` and `/`.
fn joined(text: &str) -> String {
    let text =
        ["%0D%0A", "&#13;&#10;", "\\\\n", "\\r", "\\n"].iter().fold(text.to_owned(), |text, end| text.replace(end, ""));
    text.replace("\\/", "/").replace("%2B", "+").replace("%2F", "/").replace(['\r', '\n', ' '], "")
}

fn check_digits(value: &str, name: &str, text: &str, whole: &str) {
    assert!(whole.contains(MARK), "{name}: {value:?}: {text}");
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let joined = joined(whole);
    let shown = own_digits(value).iter().any(|digits| joined.contains(digits.as_str()));
    assert!(!shown && !joined.to_lowercase().contains(&hex), "{name}: {value:?}: {whole}");
}

#[test]
fn no_digits_and_no_cut_show_a_value() {
    for value in VALUES {
        let make = replacer(&[value]);
        for (name, encoded) in in_digits(value) {
            let text = format!("a=\"{encoded}\" %");
            let whole = run(make(), &[text.as_bytes()]);
            check_digits(value, &name, &text, &whole);
            for_each_cut(text.as_bytes(), |pieces| {
                assert_eq!(run(make(), pieces), whole, "{name}: {text} in {} pieces", pieces.len());
            });
        }
    }
}

fn any_value(random: &mut Random) -> String {
    const CHARS: [&str; 4] = [
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
        "-_.:/+=@~",
        "\"\\'&<>%? {}#!\n\t",
        "éßñ你好😀\u{7f}",
    ];
    let kinds = [1, 2, 3, 4][random.below(4)];
    let mut value = String::new();
    for _ in 0..8 + random.below(30) {
        let kind = if random.below(3) > 0 { 0 } else { random.below(kinds) };
        let chars: Vec<char> = CHARS[kind].chars().collect();
        value.push(chars[random.below(chars.len())]);
    }
    value
}

/// Cuts at random places.
fn any_pieces<'a>(bytes: &'a [u8], random: &mut Random) -> Vec<&'a [u8]> {
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    let longest = [2, 5, 20, 100][random.below(4)];
    while !rest.is_empty() {
        let (piece, left) = rest.split_at((1 + random.below(longest)).min(rest.len()));
        pieces.push(piece);
        rest = left;
    }
    pieces
}

#[test]
fn no_encoder_shows_any_value() {
    let mut random = Random(11);
    for _ in 0..150 {
        let value = any_value(&mut random);
        let make = replacer(&[&value]);
        for (name, encoded) in by_character(&value, &mut random) {
            let (before, after) = [("", ""), ("{\"k\": \"", "\"}"), ("hu100% \\& p sk>", "h&%\\")][random.below(3)];
            let text = format!("{before}{encoded}{after}");
            let pieces = any_pieces(text.as_bytes(), &mut random);
            let expected = format!("{before}{MARK}{after}");
            assert_eq!(run(make(), &pieces), expected, "{name}: {value:?}: {text:?}");
            assert_eq!(run(make(), &[text.as_bytes()]), expected, "{name}: {value:?}: {text:?}");
        }
        for (name, encoded) in in_digits(&value) {
            let text = format!("a=\"{encoded}\" %");
            let whole = run(make(), &[text.as_bytes()]);
            check_digits(&value, &name, &text, &whole);
            assert_eq!(run(make(), &any_pieces(text.as_bytes(), &mut random)), whole, "{name}: {value:?}: {text:?}");
        }
        for (name, json) in [("serde", json(&value)), ("Python", json_ascii(&value)), ("PHP", json_php(&value))] {
            for before in ["", "a", "ab"] {
                let text = BASE64_STANDARD.encode(format!("{{\"{before}\":\"{json}\"}}"));
                let whole = run(make(), &[text.as_bytes()]);
                assert!(whole.contains(MARK), "base64 of JSON of {name}: {value:?}");
                assert!(!own_digits(&json).iter().any(|digits| whole.contains(digits.as_str())), "{name}: {value:?}");
            }
        }
    }
}

#[test]
fn lines_of_mail_do_not_hide_a_value() {
    let mut random = Random(5);
    let values = VALUES.iter().filter(|value| value.len() >= 8).map(|value| (*value).to_owned());
    let values: Vec<String> = values.chain((0..60).map(|_| any_value(&mut random))).collect();
    for value in values {
        let make = replacer(&[&value]);
        let encoded = quoted_printable(&value);
        for at in 1..encoded.len() {
            // No line ends within an escape.
            let escape = encoded.as_bytes()[at.saturating_sub(2)..at].contains(&b'=');
            for end in ["=\r\n", "=\n", "=\\r\\n"] {
                if escape || !encoded.is_char_boundary(at) {
                    continue;
                }
                let text = format!("so {}{end}{} is", &encoded[..at], &encoded[at..]);
                let pieces = any_pieces(text.as_bytes(), &mut random);
                assert_eq!(run(make(), &pieces), format!("so {MARK} is"), "{value:?}: {text:?}");
            }
        }
    }
    assert_eq!(run(replacer(&["hunter22-correct"])(), &[b"hunter22=\r\n -correct"]), "hunter22=\r\n -correct");
    assert_eq!(lines("abcdef", 4, "|"), "abcd|ef");
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
        assert_eq!(matcher.is_in_name(name.as_bytes(), &mut Effort::new(name.len())), holds, "{name}");
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
    let all = |text: &str| matcher.replace_all(&with, text.as_bytes(), &mut Effort::new(text.len()));
    assert_eq!(all(&value), Ok(Some(Vec::new())));
    let escaped: String = value.bytes().map(|byte| format!("\\\\u{byte:04x}")).collect();
    assert_eq!(all(&escaped), Ok(Some(Vec::new())));
}

/// A hostile upstream's head: many short headers that resemble a value of backslashes.
#[test]
fn many_texts_cost_no_more_than_one() {
    let value = ["\\".repeat(600), "x".to_owned()].concat();
    let matcher = Matcher::new([value.as_bytes()]).unwrap();
    let header = "\\".repeat(100);
    let started = Instant::now();
    let mut effort = Effort::new(120 * header.len());
    let refused = (0..120).filter(|_| matcher.replace_all(&[], header.as_bytes(), &mut effort).is_err()).count();
    // Each of them alone would cost more than all may.
    assert_eq!(refused, 120);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

/// Pieces of spellings and of escapes in any order: how the stream is cut makes no difference, and no spelling is left.
#[test]
fn fragments_of_spellings_give_the_same_however_they_are_cut() {
    let mut random = Random(23);
    for round in 0..400 {
        let value = any_value(&mut random);
        let make = replacer(&[&value]);
        let mut spelled: Vec<String> = by_character(&value, &mut random).into_iter().map(|(_, text)| text).collect();
        spelled.extend(in_digits(&value).into_iter().map(|(_, text)| text));
        let mut text = Vec::new();
        for _ in 0..12 {
            let bytes = spelled[random.below(spelled.len())].as_bytes();
            let (one, other) = (random.below(bytes.len() + 1), random.below(bytes.len() + 1));
            text.extend_from_slice(&bytes[one.min(other)..one.max(other)]);
            text.extend_from_slice(
                [&b"\\"[..], b"%", b"&", b"=", b"\r\n", b"%25", b"&amp;", b"\\\\", b" ", b""][random.below(10)],
            );
            if random.below(3) == 0 {
                text.extend_from_slice(bytes);
            }
        }
        let bytes = |pieces: &[&[u8]]| {
            let mut replacer = make();
            let mut output = Vec::new();
            for piece in pieces {
                output.extend_from_slice(&replacer.push(Bytes::copy_from_slice(piece)).unwrap());
            }
            output.extend_from_slice(&replacer.finish().unwrap());
            output
        };
        let whole = bytes(&[&text]);
        for _ in 0..8 {
            let pieces = any_pieces(&text, &mut random);
            assert!(bytes(&pieces) == whole, "{round}: {value:?}: {:?}", String::from_utf8_lossy(&text));
        }
        let shown = whole.windows(value.len()).any(|window| window == value.as_bytes());
        assert!(!shown, "{value:?}: {:?}", String::from_utf8_lossy(&text));
    }
}

/// An upstream cannot make the search slow: what resembles a value costs a bounded time, or is refused.
#[test]
fn hostile_texts_take_linear_time() {
    const BYTES: usize = 256 << 10;
    let value = "sk-live-0123456789/abc+def==";
    let digits = BASE64_STANDARD.encode(value);
    let make = replacer(&[value, "hunter22-correct-horse"]);
    let units = [
        &value[..8],
        &value[..27],
        "\\",
        "\\\\u00",
        "%25%25",
        "%",
        "&amp;&#",
        "&#",
        "=\r\n",
        "\r\n",
        "\\u0073k%2d",
        "u0073",
        &digits[..10],
        &lines(&digits[..24], 3, "\r\n"),
        &format!("{}\r\n{}", &digits[..5], &digits[5..16]),
        "736b2d6c6976652d",
    ];
    for unit in units {
        let text = unit.repeat(BYTES / unit.len());
        for piece in [16 << 10, 100] {
            let started = Instant::now();
            let mut replacer = make();
            let result = text
                .as_bytes()
                .chunks(piece)
                .try_for_each(|piece| replacer.push(Bytes::copy_from_slice(piece)).map(drop));
            let took = started.elapsed();
            // A quadratic search takes minutes.
            assert!(took < Duration::from_secs(20), "{unit:?} in pieces of {piece}: {took:?}, {result:?}");
        }
    }
}
