//! The connections to the database; and where there are none, why not, in words that never hold the password.

use std::str::FromStr;
use std::time::Duration;

use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AnyPool, Executor};
use tokio::net::TcpStream;

use crate::Error;
use crate::config::DatabaseConfig;

/// How long the look at a database that does not answer may take.
const LOOK: Duration = Duration::from_secs(2);

pub(super) async fn pool(config: &DatabaseConfig, patience: Duration) -> Result<AnyPool, Error> {
    install_default_drivers();
    let url = config.url.expose();
    let sqlite = url.starts_with("sqlite:");
    // One writer at a time is SQLite's rule; with one connection nobody waits for a lock inside it.
    let most = if sqlite { 1 } else { 10 };
    let options = AnyPoolOptions::new().max_connections(most).acquire_timeout(patience);
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
    match options.connect(url).await {
        Ok(pool) => Ok(pool),
        Err(error) if sqlite => Err(error.into()),
        Err(error) => Err(unreachable(url, error, patience).await),
    }
}

async fn unreachable(url: &str, error: sqlx::Error, patience: Duration) -> Error {
    // What is wrong with an address is said without it: there is a password in it.
    let Ok(options) = PgConnectOptions::from_str(url) else {
        let why = "DATABASE_URL is not postgres://USER:PASSWORD@HOST:PORT/DATABASE".to_owned();
        return Error::Database { place: "PostgreSQL".to_owned(), why };
    };
    let (host, port) = (options.get_host().to_owned(), options.get_port());
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    let place = format!("PostgreSQL at {host}:{port}, database {database:?}, user {:?}", options.get_username());
    let why = match error {
        sqlx::Error::PoolTimedOut => silent(&host, port, patience).await,
        sqlx::Error::Io(e) => format!("{e}; check host and port in DATABASE_URL"),
        sqlx::Error::Tls(e) => format!("no TLS: {e}; check sslmode in DATABASE_URL"),
        sqlx::Error::Database(e) => format!("it refuses: {}; check user, password and database", e.message()),
        other => other.to_string(),
    };
    Error::Database { place, why }
}

/// Why nothing came back in time: what a plain connection finds.
async fn silent(host: &str, port: u16, patience: Duration) -> String {
    let waited = format!("no connection within {} s", patience.as_secs());
    if host.starts_with('/') {
        return format!("{waited}; is PostgreSQL running, with its socket in {host}?");
    }
    match tokio::time::timeout(LOOK, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => format!("{waited}: something listens there and does not answer as PostgreSQL; is it starting?"),
        Ok(Err(e)) => format!("{waited}: {e}; is PostgreSQL running, and are host and port in DATABASE_URL right?"),
        Err(_) => format!("{waited}: no answer at all; is the host right, and does a firewall stand in between?"),
    }
}
