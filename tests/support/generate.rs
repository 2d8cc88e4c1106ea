//! Large or odd bytes that a case describes instead of holding.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde::Deserialize;

/// A text, or how to make one.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Bytes {
    Text(String),
    Made(Made),
}

/// `before`, then `text` (or the bytes in `hex`) `times` times, then the component, then `after`. `{}` in `text` is the
/// number of the repetition.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Made {
    before: String,
    text: String,
    hex: String,
    times: Option<usize>,
    after: String,
    /// WebAssembly in text: a component, or with `wit` a module that becomes one. `${many NAME N}` in it is N times what
    /// `parts` has under that name.
    wat: String,
    wit: String,
    parts: BTreeMap<String, String>,
    /// Bytes taken off the component's end.
    cut: usize,
    /// Where bytes of the component are bent (from its end where that is negative), and by which mask.
    flip: Vec<(isize, u8)>,
}

impl Bytes {
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Text(text) => Ok(text.clone().into_bytes()),
            Self::Made(made) => made.bytes(),
        }
    }

    pub fn text(&self) -> Result<String, String> {
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
            bytes.extend(self.component()?);
        }
        bytes.extend_from_slice(self.after.as_bytes());
        Ok(bytes)
    }

    fn component(&self) -> Result<Vec<u8>, String> {
        let mut text = self.wat.clone();
        while let Some((before, rest)) = text.split_once("${many ") {
            let (what, after) = rest.split_once('}').ok_or("`${many` without an end")?;
            let (name, times) = what.split_once(' ').ok_or("`${many NAME N}`")?;
            let part = self.parts.get(name).ok_or_else(|| format!("no part {name:?}"))?;
            let times: usize = times.parse().map_err(|e| format!("{times:?}: {e}"))?;
            text = format!("{before}{}{after}", part.repeat(times));
        }
        let mut bytes = wat::parse_str(&text).map_err(|e| e.to_string())?;
        if !self.wit.is_empty() {
            bytes = wrapped(&bytes, &self.wit)?;
        }
        bytes.truncate(bytes.len().saturating_sub(self.cut));
        for (at, mask) in &self.flip {
            let at = if *at < 0 { bytes.len().checked_add_signed(*at) } else { usize::try_from(*at).ok() };
            *at.and_then(|at| bytes.get_mut(at)).ok_or("a flip beyond the end")? ^= mask;
        }
        Ok(bytes)
    }
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or("?"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).map_err(|e| format!("hex {pair:?}: {e}"))).collect()
}

/// The component that `cofferdam tool wrap` makes of a module for a world of its own.
pub fn wrapped(module: &[u8], wit: &str) -> Result<Vec<u8>, String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let [core, world, output] = ["core.wasm", "world.wit", "component.wasm"].map(|name| folder.path().join(name));
    fs::write(&core, module).and_then(|()| fs::write(&world, wit)).map_err(|e| e.to_string())?;
    let mut wrap = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
    wrap.args(["tool", "wrap"]).arg(&core).arg("--wit").arg(&world).arg("--output").arg(&output);
    let done = wrap.output().map_err(|e| e.to_string())?;
    if !done.status.success() {
        return Err(format!("tool wrap: {}", String::from_utf8_lossy(&done.stderr)));
    }
    fs::read(&output).map_err(|e| e.to_string())
}
