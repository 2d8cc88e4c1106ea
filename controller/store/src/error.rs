//! Failures of the database, and values in it that this version cannot read.

use cofferdam_core::{Blame, Failure, RandomError};

/// Why the store failed. Never the caller's fault, so a client is not told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be reached. Never shows a password.
    #[error("{place}: {why}")]
    Database { place: String, why: String },
    #[error("the database failed")]
    Sqlx(#[source] sqlx::Error),
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
            other => Self::Sqlx(other),
        }
    }
}

impl Failure for Error {
    fn blame(&self) -> Blame<'_> {
        Blame::Internal
    }
}
