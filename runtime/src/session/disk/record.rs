//! The description of a state, `meta.json`, and the reasons why a state cannot be read.

use std::io::{self, Read};
use std::path::Path;

use cofferdam_contract::{Language, Limits, OrganizationId, SessionId};
use serde::{Deserialize, Serialize};

use crate::files;
use crate::sums;

/// The most bytes of a state's metadata.
pub(super) const MAX_META: u64 = 64 << 10;

/// A session's metadata, besides its memory and files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub id: SessionId,
    pub organization: OrganizationId,
    pub language: Language,
    pub limits: Limits,
    pub ttl_s: u64,
    pub ends_at: u64,
    pub last_used_at: u64,
    /// The image that the state's memory is a delta of.
    pub image_digest: String,
    pub kernel_version: String,
    /// The guest's monotonic clock, in microseconds.
    pub uptime_us: u64,
    /// The number in the names of this state's files.
    pub generation: u64,
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The contents of `meta.json`, before its own checksum.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(flatten)]
    pub meta: Meta,
    /// Absent in states of versions that wrote none.
    #[serde(default)]
    pub sums: Option<Sums>,
}

/// The checksums of a state's files.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Sums {
    pub memory: u32,
    pub files: u32,
}

/// A part of a state on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Description,
    Memory,
    Files,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Description => "description (meta.json)",
            Self::Memory => "memory",
            Self::Files => "files",
        })
    }
}

/// A state cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("its {part} cannot be used: {source}")]
    Damaged { part: Part, source: io::Error },
    #[error("the worker's memory for files is used up")]
    NoRoom,
    #[error(transparent)]
    Io(io::Error),
}

impl ReadError {
    /// Tells damage from failures that may pass.
    pub(crate) fn of(part: Part, source: io::Error) -> Self {
        use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
        match source.kind() {
            InvalidData | NotFound | UnexpectedEof => Self::Damaged { part, source },
            _ => Self::Io(source),
        }
    }

    /// True if there is no state at all.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Damaged { part: Part::Description, source } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Reads and checks the metadata. That of earlier versions has no checksum, nor the names of others.
pub(super) fn read_meta(folder: &Path) -> io::Result<Record> {
    let mut bytes = Vec::new();
    files::open_file(&folder.join("meta.json"))?.take(MAX_META + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_META {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "meta.json is too long"));
    }
    let unsealed = sums::unseal(&bytes);
    let record: Record = serde_json::from_slice(unsealed.as_ref().unwrap_or(&bytes.as_slice()))?;
    if record.sums.is_some() {
        unsealed?;
    }
    Ok(record)
}
