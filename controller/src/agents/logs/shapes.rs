//! Texts that look like credentials, whoever's they are: found by their well-known beginnings. Pure.

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::{Captures, Regex};

use super::redact::MARK;

/// Every shape begins with, or holds, one of these; a line without any is not looked at twice.
const ANCHORS: [&str; 21] = [
    "sk-",
    "sk_",
    "rk_",
    "AKIA",
    "ASIA",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xox",
    "AIza",
    "ya29.",
    "eyJ",
    "hf_",
    "npm_",
    "cof_",
    "://",
    "aws_secret",
];
/// The same for words that people write in either case.
const WORDS: [&str; 2] = ["bearer", "authorization"];

/// What is left of a shape stands in the group `keep`: its beginning, which says what it was.
const SHAPES: &str = r#"(?x)
    (?P<keep>
        \bsk-(?:ant-|proj-|or-)?
      | \b[sr]k_(?:live|test)_
      | \bgh[opsur]_ | \bgithub_pat_ | \bglpat- | \bxox[a-z]- | \bhf_ | \bnpm_ | \bcof_ | \bya29\.
    ) [A-Za-z0-9_\-]{16,}
  | (?P<aws> \b(?:AKIA|ASIA) ) [A-Z0-9]{16}\b
  | (?P<google> \bAIza ) [0-9A-Za-z_\-]{35}
  | (?P<jwt> \beyJ ) [A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}
  | (?P<bearer> (?i:\bbearer\s{1,4}) ) [A-Za-z0-9._~+/=\-]{12,}
  | (?P<authorization> (?i:\bauthorization["']?\s{0,2}[:=]\s{0,2}["']?(?:basic|token|digest)\s{1,4}) ) [A-Za-z0-9._~+/=\-]{8,}
  | (?P<secret> (?i:\baws_secret_access_key["']?\s{0,2}[:=]\s{0,2}["']?) ) [A-Za-z0-9/+=]{40}
  | (?P<user> ://[^\s/:@"'<>]*: ) [^\s/@"'<>]+ (?P<at> @ )
"#;

struct Shapes {
    anchors: AhoCorasick,
    words: AhoCorasick,
    shapes: Regex,
}

/// Built from constants: a test builds it, so that it is there.
static SHAPES_OF_CREDENTIALS: LazyLock<Option<Shapes>> = LazyLock::new(|| {
    let words = AhoCorasick::builder().ascii_case_insensitive(true).build(WORDS).ok()?;
    let mut anchors: Vec<&str> = ANCHORS.to_vec();
    anchors.push("AWS_SECRET");
    Some(Shapes { anchors: AhoCorasick::new(anchors).ok()?, words, shapes: Regex::new(SHAPES).ok()? })
});

/// The line with what looks like a credential replaced.
pub fn replace(line: Cow<'_, str>) -> Cow<'_, str> {
    let Some(known) = &*SHAPES_OF_CREDENTIALS else { return line };
    if !known.anchors.is_match(&*line) && !known.words.is_match(&*line) {
        return line;
    }
    match known.shapes.replace_all(&line, |found: &Captures<'_>| {
        let mut kept = found.iter().skip(1).flatten();
        let first = kept.next().map_or("", |group| group.as_str());
        let last = kept.next().map_or("", |group| group.as_str());
        format!("{first}{MARK}{last}")
    }) {
        Cow::Borrowed(_) => line,
        Cow::Owned(text) => Cow::Owned(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_known_by_their_shape() {
        assert!(SHAPES_OF_CREDENTIALS.is_some());
        for (line, expected) in [
            ("key sk-proj-abcDEF0123456789abcd end", "key sk-proj-[redacted] end"),
            ("sk-ant-api03-abcdefghijklmnop_qrst-uv", "sk-ant-[redacted]"),
            ("sk_live_abcdefghijklmnop1234", "sk_live_[redacted]"),
            ("id AKIAIOSFODNN7EXAMPLE.", "id AKIA[redacted]."),
            ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "AWS_SECRET_ACCESS_KEY=[redacted]"),
            (
                "aws_secret_access_key: \"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\"",
                "aws_secret_access_key: \"[redacted]\"",
            ),
            ("Authorization: Bearer abc.def-ghi_jkl0", "Authorization: Bearer [redacted]"),
            ("{\"authorization\": \"basic dXNlcjpwYXNz\"}", "{\"authorization\": \"basic [redacted]\"}"),
            ("ghp_0123456789abcdefghijklmnopqrstuvwxyz", "ghp_[redacted]"),
            ("xoxb-123456789012-abcdefghij", "xoxb-[redacted]"),
            ("AIzaSyA0123456789abcdefghijklmnopqrstuv", "AIza[redacted]"),
            ("t=eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSM", "t=eyJ[redacted]"),
            ("cof_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG", "cof_[redacted]"),
            ("postgres://app:s3cr3t@db:5432/x", "postgres://app:[redacted]@db:5432/x"),
            ("redis://:hunter2@cache", "redis://:[redacted]@cache"),
        ] {
            assert_eq!(replace(line.into()), expected);
        }
    }

    #[test]
    fn ordinary_lines_stay() {
        for line in [
            "GET http://example.com:8080/a@b 200",
            "the bearer of news",
            "risk-averse task-oriented ask-me-anything",
            "disk-0123456789abcdefghij",
            "at https://user@host/path",
            "sk-short",
            "2026-11-22T01:02:03Z INFO eyJust.a.word",
        ] {
            assert_eq!(replace(line.into()), line);
        }
    }
}
