//! Takes secrets out of lines before anybody stores or sees them: the values that a workload was given, in the forms in
//! which they come back, private keys, and what looks like a credential. A secret that an agent spreads over several
//! lines, or encodes in a way of its own, is not found. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::shapes;
use crate::config::Secret;
use crate::gateway::{Finder, Replacement, forms};

/// What stands in a secret's place.
pub const MARK: &str = "[redacted]";

/// Shorter values would be found everywhere.
const SHORTEST: usize = 6;
/// A line of a value of several lines: shorter ones are such as `}`.
const SHORTEST_LINE: usize = 12;
/// All forms are looked for of this many bytes of values, of the rest the value itself.
const MOST_IN_ALL_FORMS: usize = 64 << 10;
/// What a Kubernetes Secret can hold.
const MOST: usize = 1 << 20;
/// Lines of a private key; one without an end hides no more than these.
const MOST_KEY_LINES: u32 = 200;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment has more than {MOST} bytes of secrets, so that they could not be kept out of its log")]
pub struct TooManySecrets;

/// What to look for in the lines of one workload.
pub struct Redactor {
    finder: Option<(Finder, Vec<Replacement>)>,
}

/// Never the values.
impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("values", &self.finder.is_some()).finish()
    }
}

impl Redactor {
    /// Looks for the values of an environment: all of a name like `API_KEY`, and of the others those that are no
    /// everyday value such as a number, a word, a path or an address.
    ///
    /// # Errors
    /// More values than can be looked for.
    pub fn for_env(env: &BTreeMap<String, Secret>) -> Result<Self, TooManySecrets> {
        // Ids and addresses that we give every container.
        let ours = |name: &str| name.starts_with("COFFERDAM_") || name.starts_with("XPANDER_");
        let is_secret = |name: &str, value: &str| sounds_secret(name) || !(ours(name) || is_everyday(value));
        let secret = env.iter().filter(|(name, value)| is_secret(name, value.expose()));
        Self::new(secret.map(|(_, value)| value.expose()))
    }

    /// Looks for these values, unless they are shorter than 6 bytes.
    ///
    /// # Errors
    /// More values than can be looked for.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Self, TooManySecrets> {
        let mut texts = Vec::new();
        let mut total = 0_usize;
        let mut add = |value: &str, shortest: usize| {
            if value.len() < shortest {
                return Ok(());
            }
            total += value.len();
            if total > MOST {
                return Err(TooManySecrets);
            }
            if total > MOST_IN_ALL_FORMS {
                texts.push(value.as_bytes().to_vec());
            } else {
                texts.extend(forms(value.as_bytes()));
            }
            Ok(())
        };
        for value in values {
            add(value, SHORTEST)?;
            // A value with line ends never stands in one line as it is.
            if value.trim_end().contains('\n') {
                value.lines().map(str::trim).try_for_each(|line| add(line, SHORTEST_LINE))?;
            }
            if value.trim().len() < value.len() {
                add(value.trim(), SHORTEST)?;
            }
        }
        texts.sort_unstable();
        texts.dedup();
        if texts.is_empty() {
            return Ok(Self { finder: None });
        }
        let with = texts.iter().map(|_| Ok(Zeroizing::new(MARK.as_bytes().to_vec()))).collect();
        let finder = Finder::new(texts).map_err(|_| TooManySecrets)?;
        Ok(Self { finder: Some((finder, with)) })
    }

    /// The line without what must not be shown.
    pub fn line<'a>(&self, line: Cow<'a, str>) -> Cow<'a, str> {
        let line = match &self.finder {
            None => line,
            Some((finder, with)) => match finder.replace_all(with, line.as_bytes()) {
                Ok(None) => line,
                Ok(Some(bytes)) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
                // More replaced than fits: nothing of it is shown.
                Err(_) => Cow::Borrowed(MARK),
            },
        };
        shapes::replace(line)
    }

    /// The last lines of a workload, as they may be shown.
    pub fn lines(&self, lines: &[String]) -> Vec<String> {
        let mut key = KeyBlock::default();
        lines.iter().map(|line| key.line(self, line)).collect()
    }
}

/// Where a stream of lines stands in a private key.
#[derive(Debug, Default)]
pub struct KeyBlock {
    left: u32,
}

impl KeyBlock {
    /// The next line of the stream: cleaned, without secrets, bounded.
    pub fn line(&mut self, redactor: &Redactor, line: &str) -> String {
        if self.hides(line) {
            return MARK.to_owned();
        }
        super::clean::bound(redactor.line(super::clean::clean(line))).into_owned()
    }

    /// Whether the next line of the stream belongs to a private key.
    pub fn hides(&mut self, line: &str) -> bool {
        let inside = self.left > 0;
        self.left = self.left.saturating_sub(1);
        let (begin, end) = (line.rfind("-----BEGIN "), line.rfind("-----END "));
        let begins = begin.is_some() && line.contains("PRIVATE KEY-----");
        if begins && end.is_none_or(|end| begin.is_some_and(|begin| end < begin)) {
            self.left = MOST_KEY_LINES;
        } else if end.is_some() {
            self.left = 0;
        }
        inside || begins
    }
}

fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["KEY", "TOKEN", "SECRET", "PASS", "PWD", "CREDENTIAL", "AUTH", "DSN", "COOKIE", "PRIVATE", "SIGNATURE", "SALT"]
        .iter()
        .any(|part| name.contains(part))
}

/// What nobody would want to see replaced: numbers, words, paths, addresses without a password.
fn is_everyday(value: &str) -> bool {
    let letters =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphabetic() || b"-_. ".contains(&b));
    let number = value.bytes().all(|b| b.is_ascii_digit() || b".:-".contains(&b)) && value.len() < 20;
    let address = |text: &str| {
        text.len() < 200
            && !text.contains('@')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:/".contains(&b))
    };
    let url = value.split_once("://").is_some_and(|(scheme, rest)| letters(scheme) && address(rest));
    let host = value.split_once(':').is_some_and(|(host, port)| {
        host.contains('.') && address(host) && port.len() < 6 && port.bytes().all(|b| b.is_ascii_digit())
    });
    let path = value.starts_with('/') && address(value);
    number || url || host || path || (letters(value) && value.len() < 20)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    fn redact(values: &[&str], line: &str) -> String {
        KeyBlock::default().line(&Redactor::new(values.iter().copied()).unwrap(), line)
    }

    #[test]
    fn values_are_found_in_every_form() {
        let value = "pa/ss wörd\"1";
        let encoded = BASE64_STANDARD.encode(format!("user:{value}"));
        for line in [
            format!("a {value} b"),
            "a pa%2Fss%20w%C3%B6rd%221 b".to_owned(),
            serde_json::to_string(value).unwrap(),
            format!("Basic {encoded}"),
        ] {
            let shown = redact(&[value], &line);
            assert!(shown.contains(MARK) && !shown.contains("rd"), "{line} -> {shown}");
        }
        assert_eq!(redact(&["abc"], "abc"), "abc", "too short to look for");
        assert_eq!(redact(&["hunter22", "hunter22-long"], "hunter22-long"), MARK);
        assert_eq!(redact(&["trailing-newline\n"], "a trailing-newline b"), "a [redacted] b");
        assert_eq!(redact(&["hunter22"], "hun\u{1b}[0mter22"), MARK, "colours do not hide it");
    }

    #[test]
    fn private_keys_and_values_of_several_lines_are_not_shown() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabcd\n-----END RSA PRIVATE KEY-----";
        let redactor = Redactor::new([]).unwrap();
        let lines: Vec<String> = format!("before\n{key}\nafter").lines().map(str::to_owned).collect();
        assert_eq!(redactor.lines(&lines), ["before", MARK, MARK, MARK, MARK, "after"]);
        let one = format!("key: {} then", key.replace('\n', "\\n"));
        assert_eq!(redactor.lines(&[one, "after".into()]), [MARK, "after"]);
        let endless: Vec<String> = std::iter::once("-----BEGIN PRIVATE KEY-----".to_owned())
            .chain((0..300).map(|n| format!("line {n}")))
            .collect();
        assert_eq!(redactor.lines(&endless).iter().filter(|line| *line == MARK).count(), 201);
        let redactor = Redactor::new(["{\n  \"private\": \"0123456789\"\n}"]).unwrap();
        assert_eq!(redactor.lines(&["  \"private\": \"0123456789\"".to_owned()]), ["  [redacted]"]);
    }

    #[test]
    fn everyday_values_stay_readable() {
        let env: BTreeMap<String, Secret> = [
            ("PORT", "8080"),
            ("MODE", "production"),
            ("BASE_URL", "https://api.example.com/v1"),
            ("HOME", "/home/agent"),
            ("PASSWORD", "password"),
            ("DATABASE", "postgres://u:p4ssw0rd@db/x"),
            ("OTHER", "x7Gh29fKq1"),
            ("COFFERDAM_AGENT_ID", "3f2504e0-4f89-11d3"),
            ("XPANDER_API_KEY", "xp-0123456789"),
        ]
        .map(|(name, value)| (name.to_owned(), Secret::new(value)))
        .into();
        let redactor = Redactor::for_env(&env).unwrap();
        let line = "8080 production https://api.example.com/v1 /home/agent 3f2504e0-4f89-11d3";
        assert_eq!(redactor.line(line.into()), line);
        assert_eq!(
            redactor.line("password x7Gh29fKq1 postgres://u:p4ssw0rd@db/x".into()),
            "[redacted] [redacted] [redacted]"
        );
        assert_eq!(redactor.line("xp-0123456789".into()), MARK);
        assert!(!format!("{redactor:?}").contains("p4ss"));
    }

    #[test]
    fn too_much_to_look_for_is_refused() {
        let values: Vec<String> = (0..40).map(|n| format!("{n:02}{}", "x".repeat(30_000))).collect();
        assert_eq!(Redactor::new(values.iter().map(String::as_str)).unwrap_err(), TooManySecrets);
        let some = Redactor::new(values.iter().take(20).map(String::as_str)).unwrap();
        assert_eq!(some.line(values[19].as_str().into()), MARK);
    }
}
