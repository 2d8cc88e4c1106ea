//! One place that looks a setting up in the environment and names it when it is wrong. Never falls back silently.

use super::ConfigError;

pub struct Source<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Source<'a> {
    pub fn new(env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { env }
    }

    /// A variable that is set and not empty.
    pub fn text(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|text| !text.is_empty())
    }

    /// What is listed with commas in between; none where it is not set.
    pub fn list(&self, name: &str) -> Option<Vec<String>> {
        let text = self.text(name)?;
        Some(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }

    /// A whole number of at least 1: from the environment, else the file, else the default.
    ///
    /// # Errors
    /// A value that is no such number.
    pub fn number(&self, name: &str, file: Option<u64>, default: u64) -> Result<u64, ConfigError> {
        let value = match self.text(name) {
            Some(text) => text.trim().parse().map_err(|e| ConfigError::value(name, format!("{text:?}: {e}")))?,
            None => file.unwrap_or(default),
        };
        if value == 0 { Err(ConfigError::value(name, "must be at least 1")) } else { Ok(value) }
    }
}
