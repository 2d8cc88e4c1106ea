//! The files of an archive that do not belong into an image, collected from all of its layers, so that they are named at
//! once. Never holds what is in them.

use std::fmt;

use parking_lot::Mutex;

use crate::shown::shown;

/// The most files that are collected. After that the archive is read no further.
const MAX_SECRETS: usize = 64;
/// Characters of each list in a message.
const MAX_LIST_CHARS: usize = 2_000;
/// Characters of a pattern that is proposed.
const MAX_PATTERN_CHARS: usize = 300;

/// A file that does not belong into an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The layer's path in the archive.
    pub layer: String,
    /// The kind of file, with its article.
    pub what: &'static str,
    /// Its path in the layer, relative to the image's root.
    pub path: Vec<u8>,
}

impl Secret {
    /// The pattern that allows this file and no other. `None` for a path with characters that a pattern, a shell or a
    /// terminal could take for their own: the archive's author would choose what the pattern allows.
    pub fn pattern(&self) -> Option<String> {
        let plain = |c: char| c.is_alphanumeric() || "_./@%+=:,-".contains(c);
        let path = std::str::from_utf8(&self.path).ok()?;
        let good = path.chars().all(plain) && !path.starts_with('-') && path.chars().count() <= MAX_PATTERN_CHARS;
        good.then(|| path.to_owned())
    }
}

/// All such files of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets {
    pub found: Vec<Secret>,
    /// The archive was read to its end, so there are no others.
    pub all: bool,
}

impl Secrets {
    /// Says what was found and how it gets out of the image, without how to allow it.
    pub fn sentence(&self) -> String {
        let place = |secret: &Secret| format!("{} at {}", secret.what, shown(&secret.path));
        match self.found.as_slice() {
            [only] => format!(
                "the layer {} has {}: leave it out of the build (.dockerignore) and give secrets to the deployment instead",
                shown(only.layer.as_bytes()),
                place(only)
            ),
            found => format!(
                "{}{} files do not belong into an image: {}: leave them out of the build (.dockerignore) and give secrets \
                 to the deployment instead",
                if self.all { "" } else { "at least " },
                found.len(),
                listed(found, |secret| format!("{} (layer {})", place(secret), shown(secret.layer.as_bytes())), ", ")
            ),
        }
    }

    /// The patterns that allow these files, as many as a message has room for.
    pub fn patterns(&self) -> Vec<String> {
        let mut patterns: Vec<String> = Vec::new();
        let mut chars = 0_usize;
        for pattern in self.found.iter().filter_map(Secret::pattern) {
            chars = chars.saturating_add(pattern.len());
            if chars > MAX_LIST_CHARS {
                break;
            }
            if !patterns.contains(&pattern) {
                patterns.push(pattern);
            }
        }
        patterns
    }
}

/// The sentence, and the options of `cofferdam image push` that allow these files.
impl fmt::Display for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let them = if self.found.len() == 1 { "it" } else { "them" };
        let options: Vec<String> = self.patterns().iter().map(|pattern| format!("--allow '{pattern}'")).collect();
        match options.as_slice() {
            [] => f.write_str(&self.sentence()),
            options => write!(f, "{}, or allow {them}: {}", self.sentence(), options.join(" ")),
        }
    }
}

fn listed(found: &[Secret], text: impl Fn(&Secret) -> String, between: &str) -> String {
    let mut list = String::new();
    for (number, secret) in found.iter().enumerate() {
        let one = text(secret);
        if !list.is_empty() && list.len().saturating_add(one.len()) > MAX_LIST_CHARS {
            list.push_str(&format!(" and {} more", found.len().saturating_sub(number)));
            break;
        }
        if number > 0 {
            list.push_str(between);
        }
        list.push_str(&one);
    }
    list
}

/// The collection that the scans of all layers share.
#[derive(Debug, Default)]
pub(crate) struct Findings(Mutex<Vec<Secret>>);

impl Findings {
    pub(crate) fn add(&self, layer: &str, what: &'static str, path: &[u8]) {
        let mut found = self.0.lock();
        if found.len() < MAX_SECRETS {
            found.push(Secret { layer: layer.to_owned(), what, path: path.to_vec() });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.0.lock().len() >= MAX_SECRETS
    }

    /// All that was found. `all`: the whole archive was read.
    pub(crate) fn take(&self, all: bool) -> Option<Secrets> {
        let all = all && !self.is_full();
        let found = std::mem::take(&mut *self.0.lock());
        (!found.is_empty()).then_some(Secrets { found, all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(path: &str) -> Secret {
        Secret { layer: "l.tar".to_owned(), what: "a private key", path: path.into() }
    }

    #[test]
    fn a_pattern_is_safe_to_paste_and_allows_one_file() {
        for path in ["usr/lib/a.pem", "ü/key.pem", "app/.env"] {
            assert_eq!(secret(path).pattern().as_deref(), Some(path));
        }
        let long = "x".repeat(4_000);
        for path in
            ["usr/lib/a b.pem", "a'$(reboot)'.pem", "-rf/key", "a\u{1b}[2J\n/key", "*/.env", "\u{1b}/.env", &long]
        {
            assert_eq!(secret(path).pattern(), None, "{path:?}");
        }
        let one = Secrets { found: vec![secret("*/.env")], all: true };
        assert!(!one.to_string().contains("--allow"), "{one}");
    }

    #[test]
    fn all_are_named_with_their_options_and_the_text_is_bounded() {
        let one = Secrets { found: vec![secret("a.pem")], all: true };
        let text = one.to_string();
        assert!(text.starts_with("the layer `l.tar` has a private key at `a.pem`: leave it out"), "{text}");
        assert!(text.ends_with("or allow it: --allow 'a.pem'"), "{text}");
        let three = Secrets { found: ["a", "b", "c"].map(secret).to_vec(), all: true };
        let text = three.to_string();
        assert!(text.starts_with("3 files") && text.ends_with("--allow 'a' --allow 'b' --allow 'c'"), "{text}");
        let findings = Findings::default();
        (0..1_000).for_each(|number| {
            findings.add("l", "a private key", format!("{number}/{}", "x".repeat(3_000)).as_bytes())
        });
        let many = findings.take(true).unwrap();
        assert_eq!((many.found.len(), many.all), (MAX_SECRETS, false));
        let text = many.to_string();
        assert!(text.len() < 5_000 && text.contains("at least 64 files") && text.contains("more"), "{}", text.len());
    }
}
