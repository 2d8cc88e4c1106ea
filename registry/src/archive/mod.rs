//! Reads an image archive in one pass: `docker save` (both forms) and OCI layouts, plain or compressed by gzip or zstd,
//! from a file, a stream or a folder. Layers go to a `Sink` as they come, whatever the order of the entries. It never
//! writes to disk, and keeps nothing of a layer but the piece it is at.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;

use crate::compress::{Encoding, sniff};
use crate::digest::Digest;
use crate::image::Image;
use crate::limits::{Limits, Rules};

mod buffers;
mod documents;
mod error;
mod feed;
mod intake;
mod json;
mod layer;
mod paths;
mod resolve;
mod seekable;
mod select;
mod stream;

pub use error::{ArchiveError, Fault};
use feed::{Feed, recognize};
use intake::Intake;

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

/// What is known of a layer before it is read. The digests are what names or manifests claim. `Sink::end` tells what is
/// true: a layer under the name of a blob that it is not ends in an error; other names may lie.
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
    let intake = Intake::new(limits, rules, sink);
    match source {
        Source::Directory(path) => seekable::read_directory(path, intake),
        Source::File(file) if is_plain(&file)? => seekable::read_tar(file, intake),
        Source::File(file) => stream::read(Feed::open(Box::new(file), limits)?, intake),
        Source::Stream(reader) => stream::read(Feed::open(reader, limits)?, intake),
    }
}

/// An uncompressed file that can be read anywhere; not a pipe.
fn is_plain(file: &File) -> Result<bool, ArchiveError> {
    if !file.metadata().map_err(ArchiveError::Read)?.is_file() {
        return Ok(false);
    }
    let mut head = [0; 512];
    let mut filled = 0;
    while let Some(rest) = head.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64) {
            Ok(0) => break,
            Ok(count) => filled = filled.saturating_add(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(ArchiveError::Read(error)),
        }
    }
    let head = head.get(..filled).unwrap_or_default();
    recognize(head)?;
    Ok(sniff(head) == Encoding::Plain)
}
