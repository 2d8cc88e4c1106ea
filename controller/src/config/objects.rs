//! Where objects are kept, and how much of agents' logs.

use std::path::Path;

use super::{ConfigError, ConfigFile, Source};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectsConfig {
    /// `file://`, `s3://`, `gs://` or `az://`; holds no credentials.
    pub url: String,
}

impl ObjectsConfig {
    pub(super) fn parse(source: &Source<'_>, file: &ConfigFile, data_dir: &Path) -> Result<Self, ConfigError> {
        if let Some(url) = source.text("COFFERDAM_OBJECT_STORE").or_else(|| file.object_store.clone()) {
            return Ok(Self { url });
        }
        let folder = std::path::absolute(data_dir.join("objects"));
        let folder = folder.map_err(|e| ConfigError::value("data_dir", e))?;
        let url = url::Url::from_file_path(&folder);
        let url = url.map_err(|()| ConfigError::value("data_dir", "its path cannot be written as a URL"))?;
        Ok(Self { url: url.into() })
    }
}

/// What is kept of an agent's log, and how fast one may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogsConfig {
    pub days: u64,
    /// Of one agent, compressed.
    pub bytes: u64,
    /// A second, of one agent, as collected; more is left out and counted.
    pub rate: u64,
}

impl Default for LogsConfig {
    fn default() -> Self {
        Self { days: 14, bytes: 256 << 20, rate: 4 << 20 }
    }
}

impl LogsConfig {
    pub(super) fn parse(source: &Source<'_>, file: &ConfigFile) -> Result<Self, ConfigError> {
        let (section, usual) = (&file.logs, Self::default());
        Ok(Self {
            days: source.number("COFFERDAM_LOG_DAYS", section.days, usual.days)?,
            bytes: source.number("COFFERDAM_LOG_BYTES", section.bytes, usual.bytes)?,
            rate: source.number("COFFERDAM_LOG_RATE_BYTES", section.rate_bytes, usual.rate)?,
        })
    }
}
