//! Why an archive is refused. Each says what is wrong with it and what to do; none quotes more of it than a path.

use std::io;

use super::SinkError;
use crate::digest::Digest;

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// What was sent: sending it again will not help.
    Archive,
    /// A limit of the operator's.
    Limit,
    /// It ended early or could not be read: sending it again may help.
    Transfer,
    /// The other end: the registry.
    Sink,
}

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(
        "this is not an image archive: it {looks}; send what `docker save` or `podman save` writes, or an OCI layout"
    )]
    NotAnArchive { looks: &'static str },
    #[error("the archive cannot be read: {0}")]
    Read(#[source] io::Error),
    #[error("the archive ends in the middle of {within}: it was cut off after {at} bytes; send it again in full")]
    Truncated { within: String, at: u64 },
    #[error("{0}")]
    Bad(String),
    #[error("{what} is more than the limit of {limit}{advice}")]
    TooMuch { what: String, limit: String, advice: &'static str },
    #[error(
        "{name} is not what its name or the manifest says: expected {expected}, found {found}; save the image again"
    )]
    Digest { name: String, expected: Digest, found: Digest },
    #[error("{found}")]
    Secret { found: String },
    #[error(transparent)]
    Sink(#[from] SinkError),
}

impl ArchiveError {
    pub fn fault(&self) -> Fault {
        match self {
            Self::NotAnArchive { .. } | Self::Bad(_) | Self::Digest { .. } | Self::Secret { .. } => Fault::Archive,
            Self::TooMuch { .. } => Fault::Limit,
            Self::Read(_) | Self::Truncated { .. } => Fault::Transfer,
            Self::Sink(_) => Fault::Sink,
        }
    }
}
