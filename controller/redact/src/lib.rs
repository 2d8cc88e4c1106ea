//! Takes secrets out of foreign text: log lines of agents, and requests and answers that pass the gateway.
//!
//! Two users, two tools. [`Redactor`] hides the secrets of one workload in lines: the values that it was given, private
//! keys, and credentials of known shapes. [`Replacer`] replaces texts in a stream of bytes whose pieces end anywhere;
//! the gateway puts secrets in and takes them out with it. Both look for values with a [`Matcher`], which knows a value in
//! every spelling: characters escaped by rule for URLs, JSON, programs, HTML and mail, also escaped twice; base64 at any
//! offset and over lines of 24 digits or more; hex.
//!
//! Never does I/O, never logs, and never shows a value in an error or in `Debug`. A secret that a workload encodes in a
//! way of its own is not found.

mod anchors;
mod backward;
#[cfg(any(test, feature = "cases"))]
#[doc(hidden)]
pub mod cases;
mod clean;
#[cfg(test)]
mod encoders;
mod error;
mod escape;
mod everyday;
mod json;
mod key_block;
mod matcher;
mod percent;
mod places;
mod redactor;
mod replace;
mod search;
mod shapes;
mod spelling;

pub use error::{Forbidden, TooManySecrets, TooManyTexts};
pub use key_block::KeyBlock;
pub use matcher::{Effort, Matcher};
pub use percent::percent_encoded;
pub use redactor::{MARK, Redactor};
pub use replace::{Finder, MAX_INSERTED_BYTES, Replacement, Replacer, Wanted};
