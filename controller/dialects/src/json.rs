//! Writes JSON into a buffer, field by field, in the order of the calls. Never builds a tree.

use serde_json::value::RawValue;

/// An object that is being written.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

/// A list that is being written.
pub(crate) struct List<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

/// Writes an object; the fields are what `fill` writes.
pub(crate) fn object<R>(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>) -> R) -> R {
    out.push(b'{');
    let result = fill(&mut Object { out, empty: true });
    out.push(b'}');
    result
}

/// Writes a text with its quotes.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    // Writing into memory does not fail.
    let _ = serde_json::to_writer(out, text);
}

fn number(out: &mut Vec<u8>, value: u64) {
    let _ = serde_json::to_writer(out, &value);
}

impl Object<'_> {
    fn key(&mut self, key: &str) {
        if !std::mem::replace(&mut self.empty, false) {
            self.out.push(b',');
        }
        // Keys are this crate's own words, which need no escapes.
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    pub(crate) fn string(&mut self, key: &str, value: &str) {
        self.key(key);
        string(self.out, value);
    }

    /// Writes the text, or null.
    pub(crate) fn optional(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => self.string(key, value),
            None => self.null(key),
        }
    }

    pub(crate) fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        number(self.out, value);
    }

    pub(crate) fn bool(&mut self, key: &str, value: bool) {
        self.key(key);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    pub(crate) fn null(&mut self, key: &str) {
        self.key(key);
        self.out.extend_from_slice(b"null");
    }

    pub(crate) fn raw(&mut self, key: &str, value: &RawValue) {
        self.literal(key, value.get());
    }

    /// Writes text that is JSON already.
    pub(crate) fn literal(&mut self, key: &str, json: &str) {
        self.key(key);
        self.out.extend_from_slice(json.as_bytes());
    }

    /// Writes fields that are JSON already, with their keys and commas.
    pub(crate) fn fields(&mut self, json: &str) {
        if !json.is_empty() {
            if !std::mem::replace(&mut self.empty, false) {
                self.out.push(b',');
            }
            self.out.extend_from_slice(json.as_bytes());
        }
    }

    pub(crate) fn object<R>(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>) -> R) -> R {
        self.key(key);
        object(self.out, fill)
    }

    pub(crate) fn list<R>(&mut self, key: &str, fill: impl FnOnce(&mut List<'_>) -> R) -> R {
        self.key(key);
        self.out.push(b'[');
        let result = fill(&mut List { out: self.out, empty: true });
        self.out.push(b']');
        result
    }
}

impl List<'_> {
    fn comma(&mut self) {
        if !std::mem::replace(&mut self.empty, false) {
            self.out.push(b',');
        }
    }

    pub(crate) fn object<R>(&mut self, fill: impl FnOnce(&mut Object<'_>) -> R) -> R {
        self.comma();
        object(self.out, fill)
    }

    pub(crate) fn string(&mut self, value: &str) {
        self.comma();
        string(self.out, value);
    }

    /// Writes text that is JSON already.
    pub(crate) fn literal(&mut self, json: &str) {
        self.comma();
        self.out.extend_from_slice(json.as_bytes());
    }
}
