//! The faults of a value and their places: in words for a model, bounded.

use serde_json::Value;

/// Faults that are told at once; a model mends no more.
const MAX_FAULTS: usize = 10;
const MAX_SHOWN_CHARS: usize = 200;

/// A fault at a place of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// A JSON pointer; empty for the value itself.
    pub path: String,
    pub what: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.path.is_empty() {
            true => f.write_str(&self.what),
            false => write!(f, "{}: {}", self.path, self.what),
        }
    }
}

#[derive(Debug)]
pub(super) struct Faults {
    pub(super) all: Vec<Fault>,
    path: Vec<String>,
    most: usize,
}

impl Default for Faults {
    fn default() -> Self {
        Self { all: Vec::new(), path: Vec::new(), most: MAX_FAULTS }
    }
}

impl Faults {
    /// For a question that one fault answers.
    pub(super) fn one() -> Self {
        Self { most: 1, ..Self::default() }
    }

    /// For an alternative at the same place.
    pub(super) fn below(&self) -> Self {
        Self { path: self.path.clone(), ..Self::default() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.all.len() >= self.most
    }

    pub(super) fn add(&mut self, what: String) {
        let path = self.path.iter().fold(String::new(), |mut path, part| {
            path.push('/');
            path.push_str(&cut(&part.replace('~', "~0").replace('/', "~1")));
            path
        });
        self.take(Fault { path, what: cut(&what) });
    }

    pub(super) fn take(&mut self, fault: Fault) {
        if !self.is_full() {
            self.all.push(fault);
        }
    }

    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    pub(super) fn enter(&mut self, part: &str) {
        self.path.push(part.to_owned());
    }

    pub(super) fn leave(&mut self) {
        self.path.pop();
    }
}

fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN_CHARS).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

/// A schema in a few words.
pub(super) fn short(schema: &Value) -> String {
    cut(&schema.to_string())
}
