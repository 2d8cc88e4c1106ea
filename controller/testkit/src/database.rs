//! A database of a test's own: SQLite in a folder, or a new one in the PostgreSQL that `COFFERDAM_TEST_DATABASE_URL`
//! names.

use cofferdam_core::Secret;
use cofferdam_store::DatabaseConfig;
use sqlx::{AssertSqlSafe, query};
use tempfile::TempDir;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Sqlite,
    Postgresql,
}

impl On {
    /// The available databases.
    pub fn all() -> Vec<Self> {
        if std::env::var("COFFERDAM_TEST_DATABASE_URL").is_ok() {
            return vec![Self::Sqlite, Self::Postgresql];
        }
        println!("SKIPPED on PostgreSQL: COFFERDAM_TEST_DATABASE_URL names none");
        vec![Self::Sqlite]
    }

    /// A new, empty database; SQLite's is in `folder`.
    ///
    /// # Panics
    /// PostgreSQL cannot create it.
    pub async fn database(self, folder: &TempDir) -> DatabaseConfig {
        match self {
            Self::Sqlite => DatabaseConfig::sqlite(&folder.path().join("test.db")),
            Self::Postgresql => {
                let url = std::env::var("COFFERDAM_TEST_DATABASE_URL").unwrap();
                let name = format!("test_{:x}", unique());
                sqlx::any::install_default_drivers();
                let pool = sqlx::AnyPool::connect(&url).await.unwrap();
                query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&pool).await.unwrap();
                pool.close().await;
                let (server, _) = url.rsplit_once('/').unwrap();
                DatabaseConfig { url: Secret::new(format!("{server}/{name}")) }
            }
        }
    }
}

/// 128 random bits.
///
/// # Panics
/// The system returned no random bytes.
pub fn unique() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    u128::from_le_bytes(bytes)
}
