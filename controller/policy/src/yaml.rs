//! Parses policies: bounded YAML into typed values. A policy with an invalid key is refused as a whole, with the key's
//! path and line. Aliases, merge keys, includes and second documents are refused, because people read policies.

use serde::de::DeserializeOwned;
use serde_saphyr::{DuplicateKeyPolicy, MergeKeyPolicy, Options};

/// The longest policy, in bytes.
pub const MAX_POLICY_BYTES: usize = 256 << 10;

/// Why a policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("a policy has at most {MAX_POLICY_BYTES} bytes; this one has {0}")]
    TooLong(usize),
    #[error("{}{what}{}", at_path(.path), at_line(*.line))]
    Wrong { path: String, line: Option<u64>, what: String },
}

fn at_path(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{path}: ") }
}

fn at_line(line: Option<u64>) -> String {
    line.map(|line| format!(" (line {line})")).unwrap_or_default()
}

impl PolicyError {
    pub(super) fn at(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Wrong { path: path.into(), line: None, what: what.into() }
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(MAX_POLICY_BYTES),
            max_events: 50_000,
            max_aliases: 0,
            max_anchors: 0,
            max_depth: 16,
            max_inclusion_depth: 0,
            max_documents: 1,
            max_nodes: 20_000,
            max_total_scalar_bytes: MAX_POLICY_BYTES,
            max_merge_keys: 0,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    }
}

/// Parses one document.
///
/// # Errors
/// The first invalid key and what was expected there.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, PolicyError> {
    if text.len() > MAX_POLICY_BYTES {
        return Err(PolicyError::TooLong(text.len()));
    }
    let mut path = String::new();
    let parsed = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            path = error.path().to_string();
            error.into_inner()
        })
    });
    parsed.map_err(|error| {
        let error = error.without_snippet();
        // The error is about the whole document.
        let path = if matches!(path.as_str(), "." | "?") { String::new() } else { path };
        let line = error.location().map(|location| location.line()).filter(|line| *line > 0);
        PolicyError::Wrong { path, line, what: words(&error.to_string()) }
    })
}

/// The parser's sentence without its place, in one line of bounded length.
fn words(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    let first = first.split_once(": ").filter(|(place, _)| place.starts_with("line ")).map_or(first, |(_, rest)| rest);
    let sentence = first.rfind(" at line ").and_then(|at| first.get(..at)).unwrap_or(first);
    sentence.trim().chars().filter(|c| !c.is_control()).take(300).collect()
}
