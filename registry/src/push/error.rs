//! The reasons why a push fails: the archive, the registry, or us. Contains no credentials.

use crate::archive::{self, ArchiveError, ArchiveFault};
use crate::client::error::{ClientError, Fault};
use crate::compress::CompressError;
use crate::digest::Digest;

#[derive(Debug, thiserror::Error)]
pub enum PushError {
    #[error(transparent)]
    Archive(ArchiveError),
    #[error(transparent)]
    Registry(#[from] ClientError),
    #[error("Compressing a layer: {0}")]
    Compress(CompressError),
    /// The layer recognized by its name and first bytes was another one. The wrong cache entry is gone now.
    #[error("The layer {0} differs from the last one with the same name. Push again: the cache is corrected now")]
    OtherLayer(String),
    /// The reference has a digest, and the image another one. Nothing was tagged.
    #[error(
        "The image's digest in the registry would be {found}, and the reference asks for {wanted}. Leave `@{wanted}` out, \
         or push the archive that has it, with all layers compressed"
    )]
    OtherDigest { wanted: Digest, found: Digest },
    #[error("The push was cancelled")]
    Cancelled,
    #[error("The push did not finish within {0} s")]
    TooLong(u64),
    #[error("A thread of the push ended early; this is a bug in Cofferdam")]
    Thread,
}

impl PushError {
    pub fn fault(&self) -> Fault {
        match self {
            Self::Archive(error) => match error.fault() {
                ArchiveFault::Archive | ArchiveFault::Limit => Fault::Archive,
                ArchiveFault::Transfer => Fault::Network,
                ArchiveFault::Sink => Fault::Us,
            },
            Self::Registry(error) => error.fault(),
            Self::OtherDigest { .. } => Fault::Archive,
            Self::Compress(_) | Self::OtherLayer(_) | Self::Cancelled | Self::TooLong(_) | Self::Thread => Fault::Us,
        }
    }

    /// True if the same push may succeed.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_retriable(),
            Self::OtherLayer(_) => true,
            Self::Archive(error) => error.fault() == ArchiveFault::Transfer,
            Self::Compress(_) | Self::OtherDigest { .. } | Self::Cancelled | Self::TooLong(_) | Self::Thread => false,
        }
    }

    /// True if reading the same file again may help right away.
    pub(super) fn again(&self) -> bool {
        match self {
            Self::Registry(error) => error.kind == crate::client::error::Kind::Lost,
            Self::OtherLayer(_) => true,
            _ => false,
        }
    }
}

impl From<ArchiveError> for PushError {
    /// Our own sink's error comes back through the reader.
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Sink(inner) => match inner.0.downcast::<Self>() {
                Ok(own) => *own,
                Err(inner) => match inner.downcast::<CompressError>() {
                    Ok(own) => (*own).into(),
                    Err(inner) => Self::Archive(ArchiveError::Sink(archive::SinkError(inner))),
                },
            },
            other => Self::Archive(other),
        }
    }
}

impl From<CompressError> for PushError {
    fn from(error: CompressError) -> Self {
        match error {
            CompressError::Sink(inner) => match inner.0.downcast::<Self>() {
                Ok(own) => *own,
                Err(inner) => Self::Compress(CompressError::Sink(archive::SinkError(inner))),
            },
            other => Self::Compress(other),
        }
    }
}
