//! Newtype ids, opaque outside this file. Callers supply the randomness, because this crate has none.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Characters of an invalid id that its error repeats.
const MAX_SHOWN: usize = 80;
const EXPECTED: &str = "an id: 1 to 64 letters, digits, '-' or '_'";

/// The text is not a valid id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a valid id: 1 to 64 letters, digits, '-' or '_'")]
pub struct IdError(pub String);

/// Reads an id from text. A text that is not an id is an invalid value; a number is of an invalid type.
pub(crate) struct IdVisitor<T> {
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
}

impl<T> IdVisitor<T> {
    pub(crate) fn new(expected: &'static str, parse: fn(&str) -> Option<T>) -> Self {
        Self { expected, parse }
    }
}

impl<T> Visitor<'_> for IdVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        let shown = || text.chars().take(MAX_SHOWN).collect::<String>();
        (self.parse)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(&shown()), &self))
    }
}

fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(into = "String")]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub struct $name(String);

        impl $name {
            /// Makes an id from 128 random bits.
            pub fn from_random(bits: u128) -> Self {
                Self(format!(concat!($prefix, "{:032x}"), bits))
            }

            /// Accepts 1 to 64 ASCII letters, digits, `-` and `_`, so that an id is always one safe path segment.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                if is_id(text) { Ok(Self(text.to_owned())) } else { Err(IdError(text.chars().take(MAX_SHOWN).collect())) }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(IdVisitor::new(EXPECTED, |text| Self::parse(text).ok()))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// One execution of one snippet.
    RunId, "run_");
id!(
    /// A stateful interpreter that is kept between runs.
    SessionId, "ses_");
id!(
    /// The tenant that owns everything. The first start creates `default`.
    OrganizationId, "org_");

id!(
    /// One deployment of an agent: one version, from its upload to its end.
    DeploymentId, "dep_");

id!(
    /// One piece of work of an agent.
    TaskId, "task_");
id!(
    /// A conversation of an agent and its user, over one task or many.
    ThreadId, "thread_");

impl OrganizationId {
    /// The organization that the first start creates.
    pub fn default_organization() -> Self {
        Self("default".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_safe_path_segment() {
        for good in ["a", "ses_00ff", "A-b_9", &"x".repeat(64)] {
            assert_eq!(SessionId::parse(good).map(|id| id.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", ".", "..", "a/b", "a b", "a\0", "ä", &"x".repeat(65)] {
            assert!(SessionId::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(RunId::from_random(0xabc).as_str(), "run_00000000000000000000000000000abc");
    }
}
