//! The operator's settings in the environment. An invalid setting is reported by name and never replaced by a default.

use std::collections::BTreeSet;

use crate::Secret;

/// The bounds of a key or token that an operator gives, in characters.
const MIN_KEY: usize = 24;
const MAX_KEY: usize = 512;
/// Fewer different characters are no random text.
const MIN_DIFFERENT: usize = 8;
/// The advice for a key that cannot be used.
const MAKE_ONE: &str = "make one with `openssl rand -hex 32`";

/// Why the operator's settings are invalid.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{name}: {reason}")]
    Value { name: String, reason: String },
    #[error("the configuration file is invalid: {0}")]
    File(String),
    #[error(
        "there is no role {0:?} in this version: there are `controller` and `api` (the HTTP API), `code-runner` (a worker \
         for other machines), `ai-gateway` (models only) and `aws-operator` (brings images from S3 to ECR); without --role everything runs together"
    )]
    Role(String),
    #[error("--role {0} needs {1}")]
    Needs(&'static str, &'static str),
    #[error("no data folder: pass --data-dir, or set HOME")]
    NoHome,
}

impl ConfigError {
    /// The setting `name` has a value that cannot be used.
    pub fn value(name: impl Into<String>, reason: impl ToString) -> Self {
        Self::Value { name: name.into(), reason: reason.to_string() }
    }
}

/// Looks settings up in the environment.
pub struct Source<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Source<'a> {
    pub fn new(env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { env }
    }

    /// A variable that is set and not empty.
    pub fn text(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|text| !text.is_empty())
    }

    /// A key or token that callers send: without spaces around it, and not a guessable one.
    ///
    /// # Errors
    /// It is too short, not random enough, or no header can carry it.
    pub fn secret(&self, name: &str) -> Result<Option<Secret>, ConfigError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let text = text.trim();
        check_random(text).map_err(|reason| ConfigError::value(name, reason))?;
        Ok(Some(Secret::new(text)))
    }

    /// The parts of a comma-separated variable; `None` if it is not set.
    pub fn list(&self, name: &str) -> Option<Vec<String>> {
        let text = self.text(name)?;
        Some(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }

    /// A whole number of at least 1: from the environment, else the file, else the default.
    ///
    /// # Errors
    /// The value is not such a number.
    pub fn number(&self, name: &str, file: Option<u64>, default: u64) -> Result<u64, ConfigError> {
        let value = match self.text(name) {
            Some(text) => text.trim().parse().map_err(|e| ConfigError::value(name, format!("{text:?}: {e}")))?,
            None => file.unwrap_or(default),
        };
        match value {
            0 if self.text(name).is_none() => {
                Err(ConfigError::value(name, "its value in the configuration file must be at least 1"))
            }
            0 => Err(ConfigError::value(name, "must be at least 1")),
            _ => Ok(value),
        }
    }
}

/// Checks that a key or token could be a random one.
///
/// # Errors
/// A reason that never shows the key, with the command that makes a better one.
pub fn check_random(text: &str) -> Result<(), String> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("may only have letters, digits and punctuation of ASCII; {MAKE_ONE}"));
    }
    if !(MIN_KEY..=MAX_KEY).contains(&text.len()) {
        let count = text.len();
        return Err(format!("has {count} characters, which is not {MIN_KEY} to {MAX_KEY}; {MAKE_ONE}"));
    }
    check_different(text.as_bytes())
}

/// Checks that the bytes of a key differ as random ones do.
pub(crate) fn check_different(bytes: &[u8]) -> Result<(), String> {
    let different = bytes.iter().collect::<BTreeSet<_>>().len();
    if different < MIN_DIFFERENT {
        return Err(format!("repeats itself, so that it can be guessed; {MAKE_ONE}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_can_be_guessed_is_refused_and_not_shown() {
        let good = "3f9a0c1d7e5b2846a1c0f3d2";
        for (text, part) in [
            ("a", Some("has 1 characters")),
            (&good[..23], Some("has 23 characters")),
            (&"x".repeat(64), Some("repeats itself")),
            (&"abc".repeat(20), Some("repeats itself")),
            (&"x1".repeat(300), Some("not 24 to 512")),
            ("3f9a0c1d7e5b 2846a1c0f3d2", Some("ASCII")),
            ("3f9a0c1d7e5b2846a1c0f3d2é", Some("ASCII")),
            ("3f9a0c1d7e5b2846a1c0f3d2\0", Some("ASCII")),
            (good, None),
            ("  3f9a0c1d7e5b2846a1c0f3d2\n", None),
        ] {
            let env = |_: &str| Some(text.to_owned());
            let found = Source::new(&env).secret("COFFERDAM_X");
            let Some(part) = part else {
                assert_eq!(found.unwrap().unwrap().expose(), good);
                continue;
            };
            let said = found.unwrap_err().to_string();
            assert!(said.contains(part) && said.contains("openssl rand") && said.contains("COFFERDAM_X"), "{said}");
            assert!(text.len() < 5 || !said.contains(text), "{said}");
        }
        assert!(Source::new(&|_: &str| Some(String::new())).secret("X").unwrap().is_none());
    }
}
