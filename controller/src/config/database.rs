//! Parses which database the store uses.

use std::path::Path;

use cofferdam_core::{ConfigError, Secret, Source};
use cofferdam_store::DatabaseConfig;

use super::ConfigFile;

pub(super) fn parse(source: &Source<'_>, file: &ConfigFile, data_dir: &Path) -> Result<DatabaseConfig, ConfigError> {
    let Some(url) = source.text("DATABASE_URL").or_else(|| file.database_url.clone()) else {
        return Ok(DatabaseConfig::sqlite(&data_dir.join("cofferdam.db")));
    };
    let known = ["sqlite:", "postgres:", "postgresql:"].iter().any(|scheme| url.starts_with(scheme));
    if !known {
        let reason = "must start with postgres:// (or sqlite://); no other database is supported";
        return Err(ConfigError::value("DATABASE_URL", reason));
    }
    Ok(DatabaseConfig { url: Secret::new(url) })
}
