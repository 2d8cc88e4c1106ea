//! What can go wrong on our side of an API call, and whose fault it is. The mapping to HTTP is in `api::problem`.

use std::path::PathBuf;

use cofferdam_contract::Problem;

use crate::config::ConfigError;
use crate::objects::ObjectsError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator's: the program does not start.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The operator's: the program does not start.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// The caller, a limit or a policy: the problem says it all and is safe to show.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    #[error("the database failed")]
    Store(#[from] sqlx::Error),
    /// The operator's: it cannot be reached. Holds no password.
    #[error("{place}: {why}")]
    Database { place: String, why: String },
    #[error("the database's schema could not be brought up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the database holds a value that this version does not know: {0}")]
    Row(String),
    /// A value that this process's key does not open. Says nothing of the value.
    #[error("{0}")]
    Sealed(&'static str),
    #[error("the kernel gave no random bytes: {0}")]
    Random(String),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Listen { address: String, source: std::io::Error },
    #[error("{what}: {source}")]
    Process { what: &'static str, source: std::io::Error },
    /// The kernels could not be made ready; what the child said stands in the log.
    #[error("preparing the kernels failed: {0}")]
    Prepare(String),
    /// A worker broke the wire between us.
    #[error("the worker's answer could not be read: {0}")]
    Wire(String),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// The error and everything that caused it, for the log.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            // Some errors tell their cause themselves.
            let why = error.to_string();
            if !text.contains(&why) {
                text.push_str(": ");
                text.push_str(&why);
            }
            cause = error.source();
        }
        text
    }
}
