//! Credentials of known shapes, whoever's they are, found by their well-known beginnings. Pure.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::{Captures, Regex};

/// Every shape holds one of these or one of [`WORDS`]; a line without any is not searched.
const ANCHORS: [&str; 26] = [
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
    "xapp-",
    "hooks.slack.com",
    "AIza",
    "GOCSPX-",
    "ya29.",
    "eyJ",
    "hf_",
    "npm_",
    "dckr_pat_",
    "cof_",
    "cfr_",
    "://",
    "LS0tLS1CRUdJTi",
];
/// The same in any case.
const WORDS: [&str; 6] =
    ["bearer", "authorization", "secret_access_key", "secretaccesskey", "session_token", "sessiontoken"];

/// The start of a token: the start of a word, also after an encoded character such as `%3D`, `\n` or `\u003d`.
const START: &str = r"(?:\b|_|%[0-9A-Fa-f]{2}|\\[nrt]|\\u[0-9A-Fa-f]{4})";

/// Groups stay: they say what kind of credential was there. `<START>` stands for [`START`].
const SHAPES: &str = r#"(?x)
    (?P<keep> <START>
      (?: sk-(?:ant-|proj-|or-)?
        | [sr]k_(?:live|test)_
        | gh[opsur]_ | github_pat_ | glpat- | xox[a-z](?:\.xox[a-z])?- | xapp- | GOCSPX- | hf_ | npm_ | dckr_pat_ | cof_ | cfr_ | ya29\.
      )
    ) [A-Za-z0-9_\-]{16,}
  | (?P<hook> hooks\.slack\.com/(?:services|workflows|triggers)/ ) [A-Za-z0-9_/\-]{8,}
  | (?P<aws> <START> (?:AKIA|ASIA) ) [A-Z0-9]{16}\b
  | (?P<google> <START> AIza ) [0-9A-Za-z_\-]{35,}
  | (?P<jwt> <START> eyJ ) [A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}
  | (?P<bearer> (?i: <START> bearer (?:\s{1,4}|%20|\+) ) ) [A-Za-z0-9._~+/=\-]{12,}
  | (?P<authorization>
      (?i: authorization (?:\\?["'])? \s{0,2} [:=] \s{0,2} (?:\\?["'])? (?:basic|token|digest) (?:\s{1,4}|%20|\+) )
    ) [A-Za-z0-9._~+/=\-]{8,}
  | (?P<secret>
      (?i: (?:secret_?access_?key|session_?token) (?:\\?["'])? \s{0,2} [:=] \s{0,2} (?:\\?["'])? )
    ) [A-Za-z0-9/+=]{40,}
  | (?P<pem> LS0tLS1CRUdJTiB ) (?:QUklW|SU0Eg|FQyBQ|PUEVOU|FTkNSW|EU0Eg|QR1AgUFJJ)[A-Za-z0-9+/=]{16,}
  | (?P<user> ://[^\s/:@"'<>]*: ) [^\s/"'<>]+ (?P<at> @ )
"#;

struct Shapes {
    anchors: AhoCorasick,
    words: AhoCorasick,
    shapes: Regex,
}

/// Built from constants; a test makes sure that it can be.
static KNOWN: LazyLock<Option<Shapes>> = LazyLock::new(|| {
    let words = AhoCorasick::builder().ascii_case_insensitive(true).build(WORDS).ok()?;
    let shapes = Regex::new(&SHAPES.replace("<START>", START)).ok()?;
    Some(Shapes { anchors: AhoCorasick::new(ANCHORS).ok()?, words, shapes })
});

/// The places of credentials of known shapes, without what tells their kind. In order.
pub(crate) fn spans(line: &str) -> Vec<Range<usize>> {
    let Some(known) = &*KNOWN else { return Vec::new() };
    if !known.anchors.is_match(line) && !known.words.is_match(line) {
        return Vec::new();
    }
    let hidden = |found: Captures<'_>| {
        let whole = found.get_match().range();
        let mut kept = found.iter().skip(1).flatten();
        let start = kept.next().map_or(whole.start, |group| group.end());
        start..kept.next().map_or(whole.end, |group| group.start())
    };
    known.shapes.captures_iter(line).map(hidden).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replace(line: &str) -> String {
        let mut text = line.to_owned();
        spans(line).into_iter().rev().for_each(|span| text.replace_range(span, "[redacted]"));
        text
    }

    #[test]
    fn credentials_are_known_by_their_shape() {
        assert!(KNOWN.is_some());
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
            ("cfr_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG", "cfr_[redacted]"),
            ("cof_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG", "cof_[redacted]"),
            ("postgres://app:s3cr3t@db:5432/x", "postgres://app:[redacted]@db:5432/x"),
            ("redis://:hunter2@cache", "redis://:[redacted]@cache"),
        ] {
            assert_eq!(replace(line), expected);
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
            assert_eq!(replace(line), line);
        }
    }
}
