//! An event of a thread as a client reads it. Kinds that this program does not know are kept and not shown.

use serde::Deserialize;
use serde_json::Value;

/// An event, with its JSON as it came.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Event {
    pub(super) id: u64,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) task_id: String,
    #[serde(default)]
    pub(super) data: Value,
    #[serde(skip)]
    pub(super) text: String,
}

impl Event {
    /// Reads an event; `None` for what is none.
    pub(super) fn read(text: &str) -> Option<Self> {
        let event: Self = serde_json::from_str(text).ok()?;
        Some(Self { text: text.to_owned(), ..event })
    }

    /// A text in its data, by a JSON pointer.
    pub(super) fn word(&self, pointer: &str) -> &str {
        self.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}
