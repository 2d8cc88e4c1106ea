//! The attack cases of `cases.toml`, for the tests of every crate that shows foreign text.

use serde::Deserialize;

/// Lines that hold secrets, and the same lines as they may be shown.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    /// The values that the workload was given. Empty: the secret is known by its shape.
    #[serde(default)]
    pub values: Vec<String>,
    pub lines: Vec<String>,
    /// As a redactor shows the lines, with [`MARK`](crate::MARK) in the place of secrets.
    pub shown: Vec<String>,
    /// Texts that nothing shown may contain.
    #[serde(default)]
    pub hidden: Vec<String>,
    /// The lines before these are missing, so that a stream cannot know them.
    #[serde(default)]
    pub is_cut: bool,
}

#[derive(Deserialize)]
struct Table {
    case: Vec<Case>,
}

/// All cases.
///
/// # Panics
/// `cases.toml` is invalid.
#[expect(clippy::panic, reason = "for tests")]
pub fn all() -> Vec<Case> {
    match toml::from_str::<Table>(include_str!("../cases.toml")) {
        Ok(table) => table.case,
        Err(why) => panic!("cases.toml: {why}"),
    }
}
