//! All SQL of the controller, written once for SQLite and PostgreSQL.
//!
//! The only crate that knows sqlx. It stores and finds rows, each within its organization, and never decides anything:
//! a rule that must hold when two controllers write at once is part of a transaction, everything else is its callers'.
//! Sealed values are opened elsewhere. Start reading at `connect.rs` and `keys.rs`; `agents/change.rs` is the largest
//! transaction.

mod agent_logs;
mod agents;
mod audit;
mod columns;
mod config;
mod connect;
mod connectors;
mod definitions;
mod environments;
mod error;
mod folders;
mod keys;
mod keyvalue;
mod migrations;
mod models;
mod organizations;
mod room;
mod secrets;
mod sessions;
mod snapshots;
mod sqlite;
mod tools;
mod work;

use std::sync::Arc;
use std::time::Duration;

use sqlx::AnyPool;

use work::Dialect;

pub use agents::{
    AgentChange, AgentRow, Because, DeploymentRow, EventRow, ImageSource, Inserted, KEPT_DEPLOYMENTS, LastCrash,
    MAX_EVENTS, Observed, OnceKey, OnceRow, Spec, VariableRow, Wanted,
};
pub use audit::{AuditQuery, AuditRow};
pub use config::DatabaseConfig;
pub use connectors::{ConnectorLoginRow, ConnectorRow, ConnectorTokenRow};
pub use definitions::{Defined, DefinedRow, DefinitionChange, MemoryAdded, MemoryRow, VersionRow};
pub use environments::EnvironmentRow;
pub use error::Error;
pub use folders::{FolderRow, FolderSize};
pub use keys::{KeyChanged, KeyRow, KeyState, KeyTerms, OldText};
pub use keyvalue::{KeyValueError, Namespace};
pub use models::{
    CallSlice, Lessee, ModelCallRow, ModelSettingRow, ModelSettings, RunTokenRow, ShareGrant, ShareRequest,
    UsageColumn, UsageSlice, UsageSums,
};
pub use organizations::{OrganizationDeleted, OrganizationRow, Running};
pub use room::{Added, Put};
pub use secrets::SecretRow;
pub use sessions::{InsertedSessions, MaxSessions, SessionRow};
pub use snapshots::SnapshotRow;
pub use tools::{KEPT_VERSIONS, Switched, ToolHead, ToolVersionRow};
pub use work::{
    Asked, Cursor, Forked, FoundMessage, FoundMessages, HandedOut, Lane, Lease, MessageRow, MessageSearch, NewEvent,
    NewMessage, NewTask, PgBus, ReceiptRow, ReceiptState, Settle, Span, Step, TaskQuery, TaskRow, ThreadDeleted,
    ThreadQuery, ThreadRow, ToolResult, Turn, Used, WaitingReceipt, WorkEventRow, Write, Written,
};

/// The timeout for getting a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A pool of connections to the database. Clones share it.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
    work: Arc<work::Work>,
}

impl Store {
    /// Opens the database, creates a SQLite file that does not exist, and brings the schema up to date.
    ///
    /// # Errors
    /// The database cannot be reached, or its schema is newer than this program.
    pub async fn open(config: &DatabaseConfig) -> Result<Self, Error> {
        Self::open_within(config, CONNECT_TIMEOUT).await
    }

    /// The same with another timeout for getting a connection.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_within(config: &DatabaseConfig, timeout: Duration) -> Result<Self, Error> {
        let pool = connect::pool(config, timeout).await?;
        let migrated = migrations::migrator().run(&pool).await;
        migrated.map_err(|error| connect::explain_schema(config, error))?;
        let dialect = if config.is_file() { Dialect::Sqlite } else { Dialect::Postgres };
        work::prepare(&pool, dialect).await?;
        let work = work::Work::new(connect::work_pool(config, &pool, timeout).await?, dialect);
        let store = Self { pool, work: Arc::new(work) };
        store.ensure_default_organization().await?;
        Ok(store)
    }

    /// Closes the connections. Every acknowledged write is already on disk.
    pub async fn close(&self) {
        self.work.pool.close().await;
        self.pool.close().await;
    }
}
