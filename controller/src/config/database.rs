//! Where the store is: SQLite in the data folder, or the PostgreSQL that `DATABASE_URL` names.

use std::path::Path;

use super::{ConfigError, ConfigFile, Secret, Source};

#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// May hold a password.
    pub url: Secret,
}

impl DatabaseConfig {
    pub(super) fn parse(source: &Source<'_>, file: &ConfigFile, data_dir: &Path) -> Result<Self, ConfigError> {
        let Some(url) = source.text("DATABASE_URL").or_else(|| file.database_url.clone()) else {
            return Ok(Self::sqlite(&data_dir.join("cofferdam.db")));
        };
        let known = ["sqlite:", "postgres:", "postgresql:"].iter().any(|scheme| url.starts_with(scheme));
        if !known {
            return Err(ConfigError::value(
                "DATABASE_URL",
                "begins with postgres:// (or sqlite://); other kinds are not known",
            ));
        }
        Ok(Self { url: Secret::new(url) })
    }

    /// Whether it is a file, which one process has to itself.
    pub fn is_file(&self) -> bool {
        self.url.expose().starts_with("sqlite:")
    }

    /// A SQLite file, made when it is not there.
    pub fn sqlite(path: &Path) -> Self {
        let mut text = String::new();
        for character in path.to_string_lossy().chars() {
            match character {
                '%' => text.push_str("%25"),
                '?' => text.push_str("%3F"),
                '#' => text.push_str("%23"),
                other => text.push(other),
            }
        }
        Self { url: Secret::new(format!("sqlite://{text}?mode=rwc")) }
    }
}
