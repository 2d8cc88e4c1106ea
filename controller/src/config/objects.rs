//! Parses the object store's address, and the limits of agents' logs.

use std::path::Path;

use cofferdam_core::{ConfigError, Source};
use cofferdam_logs::LogsConfig;

use super::ConfigFile;

/// The object store's URL; a folder below the data folder by default.
pub(super) fn url(source: &Source<'_>, file: &ConfigFile, data_dir: &Path) -> Result<String, ConfigError> {
    if let Some(url) = source.text("COFFERDAM_OBJECT_STORE").or_else(|| file.object_store.clone()) {
        return Ok(url);
    }
    let folder = std::path::absolute(data_dir.join("objects"));
    let folder = folder.map_err(|e| ConfigError::value("data_dir", e))?;
    let url = url::Url::from_file_path(&folder);
    let url = url.map_err(|()| ConfigError::value("data_dir", "the path cannot be expressed as a URL"))?;
    Ok(url.into())
}

pub(super) fn logs(source: &Source<'_>, file: &ConfigFile) -> Result<LogsConfig, ConfigError> {
    let (section, usual) = (&file.logs, LogsConfig::default());
    Ok(LogsConfig {
        days: source.number("COFFERDAM_LOG_DAYS", section.days, usual.days)?,
        bytes: source.number("COFFERDAM_LOG_BYTES", section.bytes, usual.bytes)?,
        rate: source.number("COFFERDAM_LOG_RATE_BYTES", section.rate_bytes, usual.rate)?,
    })
}
