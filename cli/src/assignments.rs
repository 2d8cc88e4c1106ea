//! Variables from flags and files: `NAME=VALUE`, one a line, as in Docker's `--env-file`. Quotes and `$` are kept.

use std::path::Path;

use anyhow::Context;
use serde_json::{Map, Value, json};

use crate::advice::WrongLine;

/// Reads the file first, so that flags override it.
///
/// # Errors
/// A line or flag without a name. It may hold a secret, so its text is not repeated.
pub(crate) fn read(file: Option<&Path>, flag: &str, given: &[String]) -> anyhow::Result<Map<String, Value>> {
    let mut all = Map::new();
    if let Some(file) = file {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let place = || format!("{}, line {}", file.display(), number + 1);
                add(&mut all, line).map_err(|why| anyhow::Error::msg(format!("{}: {why}", place())))?;
            }
        }
    }
    for (number, text) in given.iter().enumerate() {
        let place = || if given.len() == 1 { flag.to_owned() } else { format!("{flag}, number {}", number + 1) };
        add(&mut all, text).map_err(|why| WrongLine(format!("{}: {why}", place())))?;
    }
    Ok(all)
}

/// Adds a variable. The text of one without a name may be a secret; its length tells it from the others.
fn add(all: &mut Map<String, Value>, text: &str) -> Result<(), String> {
    let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.trim().is_empty()) else {
        let what = if text.contains('=') { "no name before the `=`" } else { "no `=`" };
        return Err(format!("expected NAME=VALUE, and there is {what} in these {} characters", text.chars().count()));
    };
    all.insert(name.trim().to_owned(), json!(value));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_override_the_file_and_a_bad_line_is_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("env");
        std::fs::write(&file, "# ours\nA=1\n\n B = 'two'\n").unwrap();
        let all = read(Some(&file), "--env", &["A=3=4".to_owned()]).unwrap();
        assert_eq!(Value::Object(all), json!({"A": "3=4", "B": " 'two'"}));
        std::fs::write(&file, "A=1\nhush-hush\n").unwrap();
        let said = read(Some(&file), "--env", &[]).unwrap_err().to_string();
        assert!(said.contains("line 2") && !said.contains("hush"), "{said}");
        for (text, part) in [("=x", "number 2: expected NAME=VALUE, and there is no name"), ("hush", "these 4 char")] {
            let error = read(None, "--env", &["A=1".to_owned(), text.to_owned()]).unwrap_err();
            assert!(error.is::<WrongLine>() && error.to_string().contains(part), "{error}");
        }
    }
}
