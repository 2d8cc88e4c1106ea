//! Large or odd bytes that a case describes instead of containing them.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A text, or a rule to generate one.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Bytes {
    Text(String),
    Made(Made),
}

/// `before`, then `text` (or the bytes in `hex`) `times` times, then the component, then `after`. `{}` in `text` is the
/// number of the repetition.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Made {
    before: String,
    text: String,
    hex: String,
    times: Option<usize>,
    after: String,
    /// WebAssembly in text: a component, or with `wit` a module that becomes one. `${many NAME N}` in it is N times
    /// what `parts` has under that name.
    wat: String,
    wit: String,
    parts: BTreeMap<String, String>,
    /// Bytes taken off the component's end.
    cut: usize,
    /// Offsets of bytes to corrupt (negative ones count from the end), and the masks.
    flip: Vec<(isize, u8)>,
}

impl Bytes {
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Text(text) => Ok(text.clone().into_bytes()),
            Self::Made(made) => made.bytes(),
        }
    }

    pub(crate) fn text(&self) -> Result<String, String> {
        String::from_utf8(self.bytes()?).map_err(|e| format!("a text that is not UTF-8: {e}"))
    }
}

impl Made {
    fn bytes(&self) -> Result<Vec<u8>, String> {
        let mut bytes = self.before.clone().into_bytes();
        let unit = unhex(&self.hex)?;
        for number in 0..self.times.unwrap_or(1) {
            if self.text.contains("{}") {
                bytes.extend_from_slice(self.text.replace("{}", &number.to_string()).as_bytes());
            } else {
                bytes.extend_from_slice(self.text.as_bytes());
            }
            bytes.extend_from_slice(&unit);
        }
        if !self.wat.is_empty() {
            bytes.extend(super::component::made(&self.wat, &self.wit, &self.parts, self.cut, &self.flip)?);
        }
        bytes.extend_from_slice(self.after.as_bytes());
        Ok(bytes)
    }
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or("?"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).map_err(|e| format!("hex {pair:?}: {e}"))).collect()
}
