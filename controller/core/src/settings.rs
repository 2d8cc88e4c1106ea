//! The operator's settings in the environment. An invalid setting is reported by name and never replaced by a default.

/// Why the operator's settings are invalid.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{name}: {reason}")]
    Value { name: String, reason: String },
    #[error("the configuration file is invalid: {0}")]
    File(String),
    #[error(
        "there is no role {0:?} in this version: there are `controller` and `api` (the HTTP API), `code-runner` (a worker \
         for other machines) and `aws-operator` (brings images from S3 to ECR); without --role everything runs together"
    )]
    Role(String),
    #[error("--role {0} needs {1}")]
    Needs(&'static str, &'static str),
    #[error("no data folder: pass --data-dir, or set HOME")]
    NoHome,
}

impl ConfigError {
    /// The setting `name` has a value that cannot be used.
    pub fn value(name: impl Into<String>, reason: impl ToString) -> Self {
        Self::Value { name: name.into(), reason: reason.to_string() }
    }
}

/// Looks settings up in the environment.
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

    /// The parts of a comma-separated variable; `None` if it is not set.
    pub fn list(&self, name: &str) -> Option<Vec<String>> {
        let text = self.text(name)?;
        Some(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }

    /// A whole number of at least 1: from the environment, else the file, else the default.
    ///
    /// # Errors
    /// The value is not such a number.
    pub fn number(&self, name: &str, file: Option<u64>, default: u64) -> Result<u64, ConfigError> {
        let value = match self.text(name) {
            Some(text) => text.trim().parse().map_err(|e| ConfigError::value(name, format!("{text:?}: {e}")))?,
            None => file.unwrap_or(default),
        };
        if value == 0 { Err(ConfigError::value(name, "must be at least 1")) } else { Ok(value) }
    }
}
