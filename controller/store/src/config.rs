//! The database's address: SQLite in the data folder, or PostgreSQL.

use std::path::Path;

use cofferdam_core::Secret;

/// The database's address.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// A `sqlite:` or `postgres:` URL. May hold a password.
    pub url: Secret,
}

impl DatabaseConfig {
    /// Returns true for a SQLite file, which only one process uses.
    pub fn is_file(&self) -> bool {
        self.url.expose().starts_with("sqlite:")
    }

    /// A SQLite file; it is created if it does not exist.
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
