//! Connections to the database. A failure to connect is explained without the password.

use std::str::FromStr;
use std::time::Duration;

use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AnyPool, Executor};
use tokio::net::TcpStream;

use crate::error::remember;
use crate::{DatabaseConfig, Error, sqlite};

/// The timeout for a plain connection to a database that does not respond.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// SQLite allows a single writer; with a single connection nothing waits for a lock inside it.
const SQLITE_CONNECTIONS: u32 = 1;
const POSTGRES_CONNECTIONS: u32 = 10;

/// Connections of batches and hand-outs of tasks.
const POSTGRES_WORK_CONNECTIONS: u32 = 6;

/// The planner's settings for batches: their statements find every row by an index, whatever the tables' sizes were when a
/// connection prepared them. A controller that stops in the middle of a batch keeps others waiting for seconds, not for ever.
const WORK_SETTINGS: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; \
                             SET enable_mergejoin = off; SET enable_bitmapscan = off; SET jit = off; SET lock_timeout = '10s'; \
                             SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '10s'";

/// The connections of tasks' batches; SQLite's only one writes them, too.
pub(crate) async fn work_pool(config: &DatabaseConfig, pool: &AnyPool, timeout: Duration) -> Result<AnyPool, Error> {
    if config.is_file() {
        return Ok(pool.clone());
    }
    let options = AnyPoolOptions::new().max_connections(POSTGRES_WORK_CONNECTIONS).acquire_timeout(timeout);
    let options = options.after_connect(|connection, _| {
        Box::pin(async move {
            connection.execute(WORK_SETTINGS).await?;
            Ok(())
        })
    });
    Ok(options.connect(config.url.expose()).await?)
}

pub(crate) async fn pool(config: &DatabaseConfig, timeout: Duration) -> Result<AnyPool, Error> {
    install_default_drivers();
    let url = config.url.expose();
    let is_file = config.is_file();
    if let Some(path) = sqlite::file(config) {
        sqlite::check(url, &path).await?;
        remember(path);
    }
    let connections = if is_file { SQLITE_CONNECTIONS } else { POSTGRES_CONNECTIONS };
    let options = AnyPoolOptions::new().max_connections(connections).acquire_timeout(timeout);
    let options = options.after_connect(move |connection, _| {
        Box::pin(async move {
            if is_file {
                connection.execute("PRAGMA journal_mode = WAL").await?;
                connection.execute("PRAGMA busy_timeout = 5000").await?;
                connection.execute("PRAGMA synchronous = FULL").await?;
                connection.execute("PRAGMA foreign_keys = ON").await?;
            }
            Ok(())
        })
    });
    match options.connect(url).await {
        Ok(pool) => Ok(pool),
        Err(error) if is_file => Err(error.into()),
        Err(error) => Err(explain(url, error, timeout).await),
    }
}

/// Explains a schema that could not be brought up to date.
pub(crate) fn explain_schema(config: &DatabaseConfig, error: MigrateError) -> Error {
    let place = match sqlite::file(config) {
        Some(path) => format!("the database {}", path.display()),
        None => "the PostgreSQL database".to_owned(),
    };
    match error {
        MigrateError::VersionMissing(version) => {
            let why = format!(
                "is of a newer Cofferdam (its schema has step {version}, which this program does not know); start that \
                 version again, or restore a backup from before the upgrade"
            );
            Error::Database { place, why }
        }
        MigrateError::VersionMismatch(version) | MigrateError::Dirty(version) => {
            let why = format!("has a schema that is not Cofferdam's (step {version} differs); restore a backup");
            Error::Database { place, why }
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => Error::Migrate(other),
    }
}

async fn explain(url: &str, error: sqlx::Error, timeout: Duration) -> Error {
    // The URL has a password in it, so it is never shown.
    let Ok(options) = PgConnectOptions::from_str(url) else {
        let why = "DATABASE_URL is not postgres://USER:PASSWORD@HOST:PORT/DATABASE".to_owned();
        return Error::Database { place: "PostgreSQL:".to_owned(), why };
    };
    let (host, port) = (options.get_host().to_owned(), options.get_port());
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    let place = format!("PostgreSQL at {host}:{port}, database {database:?}, user {:?}:", options.get_username());
    let why = match error {
        sqlx::Error::PoolTimedOut => probe(&host, port, timeout).await,
        sqlx::Error::Io(e) => format!("{e}; check host and port in DATABASE_URL"),
        sqlx::Error::Tls(e) => format!("no TLS: {e}; check sslmode in DATABASE_URL"),
        sqlx::Error::Database(e) => format!("connection rejected: {}; check user, password and database", e.message()),
        other => other.to_string(),
    };
    Error::Database { place, why }
}

/// Tries a plain TCP connection to find out why the database did not respond in time.
async fn probe(host: &str, port: u16, timeout: Duration) -> String {
    let waited = format!("no connection within {} s", timeout.as_secs());
    if host.starts_with('/') {
        return format!("{waited}; is PostgreSQL running, with its socket in {host}?");
    }
    match tokio::time::timeout(PROBE_TIMEOUT, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => {
            format!("{waited}: the server accepts connections but does not answer as PostgreSQL; is it starting?")
        }
        Ok(Err(e)) => format!("{waited}: {e}; is PostgreSQL running, and are host and port in DATABASE_URL right?"),
        Err(_) => format!("{waited}: no response at all; is the host right, and is a firewall in between?"),
    }
}
