//! Reads an image archive in one pass: `docker save` (both forms) and OCI layouts, plain or compressed by gzip or zstd,
//! from a file, a stream or a folder. Layers go to a `Sink` as they come, whatever the order of the entries. It never
//! writes to disk, and keeps nothing of a layer but the piece it is at.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use bytes::Bytes;

use crate::compress::Encoding;
use crate::digest::Digest;
use crate::image::Image;
use crate::limits::{Limits, Rules};

mod error;

pub use error::{ArchiveError, Fault};

/// Where an archive comes from.
pub enum Source {
    /// A pipe or a request. It is read on a thread of its own, which ends when the stream does: a stream that may hang
    /// needs a time-out of its own.
    Stream(Box<dyn Read + Send>),
    /// A file. An uncompressed one is looked through first: what the sink knows is not read.
    File(File),
    /// A folder with an OCI layout.
    Directory(PathBuf),
}

/// What is done with layers.
pub trait Sink {
    /// A layer begins.
    fn begin(&mut self, layer: &LayerStart) -> Result<Want, SinkError>;

    /// The next bytes of it, as they are stored in the archive (see `LayerStart::encoding`). Never empty. Only after
    /// `Want::Bytes`.
    fn bytes(&mut self, piece: Bytes) -> Result<(), SinkError>;

    /// The layer is complete, and what it claimed has been checked. Not after `Want::Nothing`.
    fn end(&mut self, layer: &LayerEnd) -> Result<(), SinkError>;
}

/// What is known of a layer before it is read. The digests are what names or manifests claim: they are checked before
/// `Sink::end`, or never after `Want::Nothing`.
#[derive(Debug, Clone)]
pub struct LayerStart {
    /// Its path in the archive.
    pub name: String,
    /// Bytes that the archive stores.
    pub size: u64,
    /// How the archive stores it.
    pub encoding: Encoding,
    /// Digest of the uncompressed layer.
    pub diff_id: Option<Digest>,
    /// Digest of what the archive stores.
    pub blob: Option<Digest>,
    /// The first bytes, at most 64 KiB: what a cache may recognize a layer by that claims nothing.
    pub head: Bytes,
    /// The archive can be read anywhere: `Want::Nothing` costs no time.
    pub seekable: bool,
}

/// What a sink wants of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Its bytes.
    Bytes,
    /// Only that it is read, checked and looked through: the sink has it, if the digest at the end is the one it
    /// believes in.
    HashOnly,
    /// Nothing, not even that it is checked: the registry has a layer that the sink vouches for, and the image is made
    /// with that one. `diff_id` is the digest of that layer, uncompressed.
    Nothing { diff_id: Digest },
}

/// A layer that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerEnd {
    pub name: String,
    /// Digest of the uncompressed layer.
    pub diff_id: Digest,
    /// Bytes of the uncompressed layer.
    pub diff_bytes: u64,
    /// Digest of what the archive stores: `diff_id` for an uncompressed layer.
    pub blob: Digest,
    /// Bytes that the archive stores.
    pub size: u64,
    pub encoding: Encoding,
}

/// Why a sink wants no more: a failed push, or a cancelled one.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SinkError(pub Box<dyn std::error::Error + Send + Sync>);

impl SinkError {
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

/// What an archive held.
#[derive(Debug, Clone)]
pub struct Archive {
    /// One, or one for each platform: those are pushed with an index. Never empty.
    pub images: Vec<Image>,
    pub form: Form,
    /// Layers that the sink was given and that no image of `images` has.
    pub unreferenced: Vec<LayerEnd>,
    /// What was left out, and why.
    pub skipped: Vec<Skipped>,
    /// Bytes that were read of the archive, as it is stored.
    pub bytes_read: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    DockerSave,
    OciLayout,
}

/// Something that the archive has and that is no part of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    pub what: String,
    pub why: String,
}

/// Reads an image archive. Blocking: run it on a thread of its own.
pub fn read_archive(
    source: Source,
    limits: &Limits,
    rules: &Rules,
    sink: &mut dyn Sink,
) -> Result<Archive, ArchiveError> {
    let _ = (source, limits, rules, sink);
    Err(ArchiveError::NotAnArchive { looks: "nothing yet" })
}
