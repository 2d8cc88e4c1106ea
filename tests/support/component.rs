//! Components that a case describes as text, with its corruptions.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

/// Compiles a component from its text, and corrupts it as the case says.
pub(crate) fn made(
    wat: &str,
    wit: &str,
    parts: &BTreeMap<String, String>,
    cut: usize,
    flip: &[(isize, u8)],
) -> Result<Vec<u8>, String> {
    let mut text = wat.to_owned();
    while let Some((before, rest)) = text.split_once("${many ") {
        let (what, after) = rest.split_once('}').ok_or("`${many` without an end")?;
        let (name, times) = what.split_once(' ').ok_or("`${many NAME N}`")?;
        let part = parts.get(name).ok_or_else(|| format!("no part {name:?}"))?;
        let times: usize = times.parse().map_err(|e| format!("{times:?}: {e}"))?;
        text = format!("{before}{}{after}", part.repeat(times));
    }
    let mut bytes = wat::parse_str(&text).map_err(|e| e.to_string())?;
    if !wit.is_empty() {
        bytes = wrapped(&bytes, wit)?;
    }
    bytes.truncate(bytes.len().saturating_sub(cut));
    for (at, mask) in flip {
        let at = if *at < 0 { bytes.len().checked_add_signed(*at) } else { usize::try_from(*at).ok() };
        *at.and_then(|at| bytes.get_mut(at)).ok_or("a flip beyond the end")? ^= mask;
    }
    Ok(bytes)
}

/// The component that `cofferdam tool wrap` creates from a module and its world.
pub(crate) fn wrapped(module: &[u8], wit: &str) -> Result<Vec<u8>, String> {
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
