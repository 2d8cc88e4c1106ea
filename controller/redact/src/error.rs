//! The errors of this crate. None of them holds a secret.

/// A text that must not be in a stream, or more insertions than a request may hold. The sentence is safe to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Forbidden(pub String);

/// The texts to look for do not fit in one automaton.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the texts to look for do not fit in one automaton: {0}")]
pub struct TooManyTexts(pub(crate) String);

/// A workload has more secrets than can be looked for, so its lines cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the environment has more than {} bytes of secrets, so that they could not be kept out of its log",
    crate::redactor::MAX_BYTES
)]
pub struct TooManySecrets;
