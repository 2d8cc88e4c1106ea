//! The guest's file handles, and the mapping of file errors to WASI's.

use std::sync::Arc;

use wasmtime::component::ResourceTableError;

use super::bindings::filesystem::types::{DescriptorFlags, DescriptorType, ErrorCode};
use crate::{
    sandbox::table_error,
    vfs::{FsError, Kind, handle::Handle},
};

/// An open file or folder.
pub struct Descriptor {
    pub(crate) node: Arc<Handle>,
    pub(crate) flags: DescriptorFlags,
}

impl Descriptor {
    pub(crate) fn readable(&self) -> Result<&Arc<Handle>, FsError> {
        if self.flags.contains(DescriptorFlags::READ) { Ok(&self.node) } else { Err(FsError::BadDescriptor) }
    }

    pub(crate) fn writable(&self) -> Result<&Arc<Handle>, FsError> {
        if self.flags.contains(DescriptorFlags::WRITE) { Ok(&self.node) } else { Err(FsError::BadDescriptor) }
    }
}

/// A directory walk, remembered by the last name returned, because entries may come and go meanwhile.
pub struct DirectoryEntryStream {
    pub(crate) folder: Arc<Handle>,
    pub(crate) last: Option<String>,
}

/// A failed file system call: an error for the guest, or a trap.
#[derive(Debug)]
pub enum Failure {
    Guest(FsError),
    Trap(wasmtime::Error),
}

impl From<FsError> for Failure {
    fn from(error: FsError) -> Self {
        Self::Guest(error)
    }
}

impl From<ResourceTableError> for Failure {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(table_error(error))
    }
}

impl From<wasmtime::Error> for Failure {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

impl From<Kind> for DescriptorType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Folder => Self::Directory,
            Kind::File => Self::RegularFile,
            Kind::Link => Self::SymbolicLink,
        }
    }
}

impl From<FsError> for ErrorCode {
    fn from(error: FsError) -> Self {
        match error {
            FsError::BadDescriptor => Self::BadDescriptor,
            FsError::Busy => Self::Busy,
            FsError::CrossDevice => Self::CrossDevice,
            FsError::Exist => Self::Exist,
            FsError::FileTooLarge => Self::FileTooLarge,
            FsError::Illegal => Self::IllegalByteSequence,
            FsError::Invalid => Self::Invalid,
            FsError::IsFolder => Self::IsDirectory,
            FsError::Loop => Self::Loop,
            FsError::NameTooLong => Self::NameTooLong,
            FsError::NoEntry => Self::NoEntry,
            FsError::NoSpace => Self::InsufficientSpace,
            FsError::NotFolder => Self::NotDirectory,
            FsError::NotEmpty => Self::NotEmpty,
            FsError::NotPermitted => Self::NotPermitted,
            FsError::ReadOnly => Self::ReadOnly,
            // WASI has no code for too many open files.
            FsError::Quota | FsError::TooManyOpen => Self::Quota,
            FsError::Unsupported => Self::Unsupported,
        }
    }
}
