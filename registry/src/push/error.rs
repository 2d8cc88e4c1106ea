//! Why a push failed: the archive, the registry, or us. Nothing of a credential is in it.

use crate::archive::{self, ArchiveError};
use crate::client::error::{ClientError, Fault};
use crate::compress::CompressError;

#[derive(Debug, thiserror::Error)]
pub enum PushError {
    #[error(transparent)]
    Archive(ArchiveError),
    #[error(transparent)]
    Registry(#[from] ClientError),
    #[error("Compressing a layer: {0}")]
    Compress(CompressError),
    /// What was believed of a layer by its name and beginning was wrong; the belief is gone now.
    #[error("The layer {0} is another one than before under the same name. Push again: this is known now")]
    OtherLayer(String),
    #[error("The push was cancelled")]
    Cancelled,
    #[error("The push did not end within {0} s and was given up")]
    TooLong(u64),
    #[error("A thread of the push ended early; this is a fault of Cofferdam's")]
    Thread,
}

impl PushError {
    pub fn fault(&self) -> Fault {
        match self {
            Self::Archive(error) => match error.fault() {
                archive::Fault::Archive | archive::Fault::Limit => Fault::Archive,
                archive::Fault::Transfer => Fault::Network,
                archive::Fault::Sink => Fault::Us,
            },
            Self::Registry(error) => error.fault(),
            Self::Compress(_) | Self::OtherLayer(_) | Self::Cancelled | Self::TooLong(_) | Self::Thread => Fault::Us,
        }
    }

    /// Whether the very same push may work.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_retriable(),
            Self::OtherLayer(_) => true,
            Self::Archive(error) => error.fault() == archive::Fault::Transfer,
            Self::Compress(_) | Self::Cancelled | Self::TooLong(_) | Self::Thread => false,
        }
    }

    /// Whether reading the same file again may help at once.
    pub(super) fn again(&self) -> bool {
        match self {
            Self::Registry(error) => error.kind == crate::client::error::Kind::Lost,
            Self::OtherLayer(_) => true,
            _ => false,
        }
    }
}

impl From<ArchiveError> for PushError {
    /// What our own sink said comes back out of the reader.
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
