//! Failures of the database, and values in it that this version cannot read.

use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

use cofferdam_contract::Problem;
use cofferdam_core::{Blame, Failure, RandomError};

use crate::sqlite::{explain, is_busy, is_full, is_of_the_file};

/// The SQLite file of this process, for the log. An error of sqlx does not say which file it is about.
static FILE: OnceLock<PathBuf> = OnceLock::new();

/// PostgreSQL's codes for a text that it cannot keep: one with a NUL character, as text or within JSON.
const UNSTORABLE: [&str; 2] = ["22021", "22P05"];
/// PostgreSQL's code for a full disk.
const DISK_FULL: &str = "53100";

/// Remembers the file for the log.
pub(crate) fn remember(path: PathBuf) {
    // A process has one database; tests have more, and their messages name the first.
    let _ = FILE.set(path);
}

fn failed(error: &sqlx::Error) -> String {
    match FILE.get() {
        Some(path) if is_of_the_file(error) => format!("the database {} {}", path.display(), explain(path, error)),
        _ => "the database failed".to_owned(),
    }
}

fn no_room() -> String {
    match FILE.get() {
        Some(path) => format!("the database {} has no room left on its disk; make room", path.display()),
        None => "the database has no room left on its disk; make room there".to_owned(),
    }
}

/// The database's own words, with the kind by which [`cofferdam_core::used_up`] knows them.
fn full(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Full(io::Error::new(io::ErrorKind::StorageFull, error))
}

/// Why the store failed. The caller's fault only if a text cannot be stored; otherwise a client is not told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be reached. Never shows a password.
    #[error("{place} {why}")]
    Database { place: String, why: String },
    #[error("{}", failed(.0))]
    Sqlx(#[source] sqlx::Error),
    /// The database's disk has no room left. The cause's kind is `StorageFull`.
    #[error("{}", no_room())]
    Full(#[source] io::Error),
    /// A text that no handler refused and that the database cannot keep.
    #[error("a text cannot be stored: {}", .0.detail)]
    Unstorable(Box<Problem>),
    #[error("the database's schema could not be brought up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the database holds a value that this version does not know: {0}")]
    Row(String),
    #[error("a value could not be written as JSON")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { index, source } => Self::Row(format!("{index}: {source}")),
            sqlx::Error::Database(error) if error.code().is_some_and(|code| UNSTORABLE.contains(&&*code)) => {
                let detail = "A text in the request has a NUL character, which no text here may have.";
                Self::Unstorable(Box::new(Problem::malformed(detail)))
            }
            sqlx::Error::Database(error) if error.code().is_some_and(|code| code == DISK_FULL) => full(error),
            error if is_full(&error) => full(error),
            other => Self::Sqlx(other),
        }
    }
}

/// PostgreSQL's codes of a transaction that lost against another one: serialization failure, deadlock.
const LOST_A_RACE: [&str; 2] = ["40001", "40P01"];
/// The beginnings of PostgreSQL's codes of a server that is away or busy: connection exceptions, ended by an operator or by a
/// time-out, too many connections.
const AWAY: [&str; 6] = ["08", "57P", "53300", "55P03", "57014", "25P03"];

impl Error {
    /// Returns true if the transaction lost against another one: nothing was written, and repeating it may succeed at once.
    pub fn is_repeatable(&self) -> bool {
        match self {
            Self::Sqlx(error) if is_busy(error) => true,
            Self::Sqlx(sqlx::Error::Database(error)) => error.code().is_some_and(|code| LOST_A_RACE.contains(&&*code)),
            _ => false,
        }
    }

    /// Returns true if the database cannot be reached now, or has no connection to spare: the same may succeed later.
    pub fn is_unavailable(&self) -> bool {
        // A connection that ends while it is being made breaks the protocol.
        use sqlx::Error::{Database, Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
        match self {
            Self::Sqlx(error) if is_busy(error) => true,
            Self::Sqlx(Io(_) | PoolClosed | PoolTimedOut | Protocol(_) | Tls(_) | WorkerCrashed)
            | Self::Database { .. } => true,
            Self::Sqlx(Database(error)) => {
                error.code().is_some_and(|code| AWAY.iter().any(|away| code.starts_with(away)))
            }
            _ => false,
        }
    }
}

impl Failure for Error {
    fn blame(&self) -> Blame<'_> {
        match self {
            Self::Unstorable(problem) => Blame::Refused(problem),
            _ => Blame::Internal,
        }
    }
}
