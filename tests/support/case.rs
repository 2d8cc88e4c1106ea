//! The format of a case: a TOML file with requests and expected answers. `tests/attack/README.md` describes it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::generate::Bytes;

/// A file of `tests/attack` or `tests/scenarios`.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// One sentence: the attempt, and the expected result.
    pub about: String,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    // A run.
    pub language: Option<String>,
    pub code: Option<Bytes>,
    #[serde(default)]
    pub limits: toml::Table,
    /// A file by its path, or many by a description.
    #[serde(default)]
    pub files: BTreeMap<String, Bytes>,
    pub many_files: Option<ManyFiles>,
    pub stdin: Option<Bytes>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default)]
    pub svg: bool,
    pub grants: Option<toml::Value>,
    pub if_busy: Option<String>,
    /// A session's name; the first step that uses it creates the session.
    pub session: Option<String>,
    /// Requests events instead of one answer; they are reassembled.
    #[serde(default)]
    pub events: bool,
    /// The key that is sent: the server's own, or one that is created under this name.
    pub key: Option<String>,

    /// Any other call.
    pub call: Option<Other>,

    /// A pause before the step.
    #[serde(default)]
    pub wait_ms: u64,
    #[serde(default)]
    pub expect: Expect,
}

/// Files `f0`, `f1`, ... with the same text.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManyFiles {
    pub count: usize,
    pub path: String,
    pub text: Bytes,
}

/// A call that is not a well-formed run. `${name}` in the path is the id of the session with that name, or the text
/// that a step saved under it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Other {
    #[serde(default = "post")]
    pub method: String,
    #[serde(default = "runs")]
    pub path: String,
    pub body: Option<Bytes>,
    #[serde(default = "json")]
    pub content_type: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Sends the body in pieces of this many bytes, with a pause before each.
    pub piece_bytes: Option<usize>,
    #[serde(default)]
    pub pause_ms: u64,
    /// All bytes that are sent over the connection, instead of everything above.
    pub raw: Option<Bytes>,
}

fn post() -> String {
    "POST".to_owned()
}

fn runs() -> String {
    "/v1/runs".to_owned()
}

fn json() -> String {
    "application/json".to_owned()
}

/// Only the given fields are checked. Two exceptions: the HTTP status is 200 by default, and nothing may leak.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expect {
    /// One of these HTTP statuses.
    pub http: Option<OneOrMore<u16>>,
    /// Closing the connection without an answer is also accepted.
    pub or_closed: bool,
    /// One of these kinds of problem.
    pub problem: Option<OneOrMore<String>>,
    pub detail: Vec<String>,
    /// One of these outcomes.
    pub status: Option<OneOrMore<String>>,
    pub exit_code: Option<i64>,
    /// One of these names of an error or of a limit.
    pub error: Option<OneOrMore<String>>,
    /// Parts of the error's message or traceback.
    pub error_contains: Vec<String>,
    pub error_lacks: Vec<String>,
    pub stdout: Option<String>,
    pub stdout_contains: Vec<String>,
    pub stderr_contains: Vec<String>,
    pub output_bytes_at_most: Option<usize>,
    /// Parts of the results, as JSON text.
    pub results_contain: Vec<String>,
    /// MIME types that at least one result has.
    pub mimes: Vec<String>,
    /// Files that the outcome lists, with a part of their text.
    pub files: BTreeMap<String, String>,
    pub no_files: bool,
    /// Parts of the answer's body, of whatever kind it is.
    pub body_contains: Vec<String>,
    pub lacks: Vec<String>,
    /// From the first byte sent to the last received.
    pub max_ms: Option<u64>,
    pub min_ms: Option<u64>,
    /// Saves the standard output under a name.
    pub save: Option<String>,
    /// The standard output equals, or differs from, the one saved under the name.
    pub same_as: Option<String>,
    pub differs_from: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

impl<T: PartialEq> OneOrMore<T> {
    pub(crate) fn has(&self, value: &T) -> bool {
        match self {
            Self::One(one) => one == value,
            Self::More(more) => more.contains(value),
        }
    }
}

impl Case {
    /// Reads a case. Without `[[step]]` the file is one step; otherwise the fields above the steps apply to each.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
        Self::parse(&text)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut table: toml::Table = toml::from_str(text).map_err(|e| e.to_string())?;
        let about = table.remove("about").and_then(|v| v.as_str().map(str::to_owned));
        let about = about.filter(|text| !text.is_empty()).ok_or("a case needs `about`")?;
        let tables = match table.remove("step") {
            None => vec![table],
            Some(toml::Value::Array(steps)) => steps
                .into_iter()
                .map(|step| {
                    let mut merged = table.clone();
                    merged.extend(step.as_table().cloned().unwrap_or_default());
                    merged
                })
                .collect(),
            Some(_) => return Err("`step` is a list of tables".to_owned()),
        };
        let step = |table: toml::Table| {
            let step: Step = table.try_into().map_err(|e: toml::de::Error| e.to_string())?;
            match (&step.code, &step.call) {
                (Some(_), None) | (None, Some(_)) => Ok(step),
                _ => Err("a step has either `code` or `call`".to_owned()),
            }
        };
        let steps = tables.into_iter().map(step).collect::<Result<Vec<_>, String>>()?;
        Ok(Self { about, steps })
    }
}

/// The cases below a folder, by their path in it without `.toml`.
pub(crate) fn cases(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("the folder of cases").map(|entry| entry.expect("an entry")) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "toml") {
                let name = path.strip_prefix(folder).expect("inside").with_extension("");
                found.push((name.to_string_lossy().into_owned(), path));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no cases in {}", folder.display());
    found
}
