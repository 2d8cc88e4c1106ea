//! All the SQL, written once for SQLite and PostgreSQL. It decides nothing: what a key may see is in the queries' terms.

mod keys;
mod keyvalue;
mod organizations;
mod secrets;
mod sessions;
mod snapshots;
mod tools;

use std::time::Duration;

use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::{AnyPool, Executor};

use crate::Error;
use crate::config::DatabaseConfig;

pub use keys::KeyRow;
pub use keyvalue::{KeyValueError, Namespace};
pub use secrets::SecretRow;
pub use sessions::SessionRow;
pub use snapshots::SnapshotRow;
pub use tools::{KEPT_VERSIONS, Switched, ToolVersionRow};

/// A pool of connections; clones share it.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
}

impl Store {
    /// Opens the database, makes it where SQLite's file is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// A database that cannot be reached, or whose schema is newer than this program.
    pub async fn open(config: &DatabaseConfig) -> Result<Self, Error> {
        install_default_drivers();
        let url = config.url.expose();
        let sqlite = url.starts_with("sqlite:");
        // One writer at a time is SQLite's rule; with one connection nobody waits for a lock inside it.
        let most = if sqlite { 1 } else { 10 };
        let options = AnyPoolOptions::new().max_connections(most).acquire_timeout(Duration::from_secs(10));
        let options = options.after_connect(move |connection, _| {
            Box::pin(async move {
                if sqlite {
                    connection.execute("PRAGMA journal_mode = WAL").await?;
                    connection.execute("PRAGMA busy_timeout = 5000").await?;
                    connection.execute("PRAGMA synchronous = FULL").await?;
                    connection.execute("PRAGMA foreign_keys = ON").await?;
                }
                Ok(())
            })
        });
        let store = Self { pool: options.connect(url).await? };
        sqlx::migrate!("./migrations").run(&store.pool).await?;
        store.ensure_default_organization().await?;
        Ok(store)
    }

    /// Ends the connections; what was acknowledged is on disk already.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// A count or size of ours as the database's integer, and back; neither ever comes near the other's bounds.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
