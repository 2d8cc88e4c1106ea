//! The reasons for refusing an archive. Each says what is wrong and how to fix it, and quotes nothing of the archive
//! but paths.

use std::io;

use super::SinkError;
use crate::digest::Digest;
use crate::scan::Secrets;

/// The party at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveFault {
    /// The archive. Sending it again will not help.
    Archive,
    /// A limit set by the operator.
    Limit,
    /// The archive could not be read. Sending it again may help.
    Transfer,
    /// The registry.
    Sink,
}

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(
        "this is not an image archive: it {looks}; send what `docker save` or `podman save` writes, or an OCI layout"
    )]
    NotAnArchive { looks: &'static str },
    #[error(
        "the archive is compressed with {with}, and only gzip and zstd are read; unpack it on the way, `{command} FILE | \
         cofferdam image push - REFERENCE`, or send it uncompressed"
    )]
    Compressed { with: &'static str, command: &'static str },
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
    #[error("{0}")]
    Secret(Box<Secrets>),
    #[error(transparent)]
    Sink(#[from] SinkError),
}

impl ArchiveError {
    pub fn fault(&self) -> ArchiveFault {
        match self {
            // Its end did arrive, so that a part of it is all there is.
            Self::Truncated { .. } => ArchiveFault::Archive,
            Self::NotAnArchive { .. }
            | Self::Compressed { .. }
            | Self::Bad(_)
            | Self::Digest { .. }
            | Self::Secret(_) => ArchiveFault::Archive,
            Self::TooMuch { .. } => ArchiveFault::Limit,
            Self::Read(_) => ArchiveFault::Transfer,
            Self::Sink(_) => ArchiveFault::Sink,
        }
    }
}
