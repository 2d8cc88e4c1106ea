//! All the SQL, written once for SQLite and PostgreSQL. It decides nothing: what a key may see is in the queries' terms.

mod agent_logs;
mod agents;
mod connect;
mod environments;
mod folders;
mod keys;
mod keyvalue;
mod organizations;
mod secrets;
mod sessions;
mod snapshots;
mod tools;

use std::time::Duration;

use sqlx::AnyPool;

use crate::Error;
use crate::config::DatabaseConfig;

pub use agents::{
    AgentChange, AgentRow, Because, DeploymentRow, EventRow, Inserted, KEPT_DEPLOYMENTS, MAX_EVENTS, OnceKey, OnceRow,
    Source, Spec, VariableRow, Wanted,
};
pub use environments::EnvironmentRow;
pub use folders::{FolderRow, FolderSize};
pub use keys::KeyRow;
pub use keyvalue::{KeyValueError, Namespace};
pub use secrets::SecretRow;
pub use sessions::SessionRow;
pub use snapshots::SnapshotRow;
pub use tools::{KEPT_VERSIONS, Switched, ToolHead, ToolVersionRow};

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);

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
        Self::open_within(config, PATIENCE).await
    }

    /// The same, with that much time for each connection.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_within(config: &DatabaseConfig, patience: Duration) -> Result<Self, Error> {
        let store = Self { pool: connect::pool(config, patience).await? };
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
