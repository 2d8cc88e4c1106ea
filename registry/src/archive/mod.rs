//! Reads an image archive in one pass: `docker save` (both forms) and OCI layouts, plain, gzip or zstd, from a file, a
//! stream or a folder. Layers go to a `Sink` as they arrive, in any order. Never writes to disk, and holds only the
//! current piece of a layer.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;

use crate::compress::{Encoding, sniff};
use crate::digest::Digest;
use crate::image::{Image, StoredIndex};
use crate::limits::{ArchiveLimits, Rules};
use crate::shown::shown;

mod both;
mod candidate;
mod documents;
mod error;
mod feed;
mod holes;
mod intake;
mod json;
mod kinds;
mod layer;
mod looks;
mod paths;
mod range;
mod resolve;
mod seekable;
mod select;
mod stream;
mod whole;

pub use crate::scan::{Secret, Secrets};
pub use error::{ArchiveError, ArchiveFault};
use feed::{ReadAhead, recognize};
use intake::Intake;

/// The most notes about one archive.
const MAX_NOTES: usize = 100;

/// The origin of an archive.
pub enum ArchiveSource {
    /// A pipe or a request. A thread reads it and ends when the stream does, so a stream that may hang needs its own
    /// timeout.
    Stream(Box<dyn Read + Send>),
    /// A file. An uncompressed one is indexed first, so that layers that the sink has read before are skipped.
    File(File),
    /// A folder with an OCI layout.
    Directory(PathBuf),
}

/// Receives the layers.
pub trait Sink {
    /// A layer begins. The answer decides how much of it is read.
    fn begin(&mut self, layer: &LayerStart) -> Result<Want, SinkError>;

    /// The next bytes, as the archive stores them (see `LayerStart::encoding`). Never empty. Only called after
    /// `Want::Bytes`.
    fn bytes(&mut self, piece: Bytes) -> Result<(), SinkError>;

    /// The layer is complete and its claims have been checked. Not called after `Want::Nothing`.
    fn end(&mut self, layer: &LayerEnd) -> Result<(), SinkError>;
}

/// A layer before it is read. The digests are claims by names or manifests; `Sink::end` gives the real ones. A mismatch
/// with a blob's name is an error. Other names are only hints.
#[derive(Debug, Clone)]
pub struct LayerStart {
    /// Its path in the archive.
    pub name: String,
    /// Bytes as stored in the archive.
    pub size: u64,
    /// The encoding in the archive.
    pub encoding: Encoding,
    /// Digest of the uncompressed layer.
    pub diff_id: Option<Digest>,
    /// Digest of the stored bytes.
    pub blob: Option<Digest>,
    /// The first bytes, at most 64 KiB, by which a cache can recognize a layer without claimed digests.
    pub head: Bytes,
    /// The stored bytes of a seekable archive: the file, its times, and the range in it. Whoever has read them once may
    /// answer `Want::Nothing`, which skips the layer at no cost.
    pub place: Option<String>,
}

/// The part of a layer that a sink needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// All of its bytes.
    Bytes,
    /// Read, check and scan it, but deliver nothing: the sink has it already, if the final digest is the expected one.
    HashOnly,
    /// Neither bytes nor checks: the sink has read these very bytes before, and the image uses the layer that it has of
    /// them. `diff_id` is the digest of that layer, uncompressed.
    Nothing { diff_id: Digest },
}

/// A layer that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerEnd {
    pub name: String,
    /// Digest of the uncompressed layer.
    pub diff_id: Digest,
    /// Bytes of the uncompressed layer.
    pub diff_bytes: u64,
    /// Digest of the stored bytes. Equals `diff_id` for an uncompressed layer.
    pub blob: Digest,
    /// Bytes as stored in the archive.
    pub size: u64,
    pub encoding: Encoding,
    /// The layer's `place`, if the file did not change while it was read and cannot have changed unnoticed.
    pub place: Option<String>,
}

/// The reason why a sink stops: the push failed or was cancelled.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SinkError(pub Box<dyn std::error::Error + Send + Sync>);

impl SinkError {
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

/// The content of an archive.
#[derive(Debug, Clone)]
pub struct Archive {
    /// One image, or one per platform, pushed with an index. Never empty.
    pub images: Vec<Image>,
    pub form: Form,
    /// The index that names exactly `images` and what is beside them, if the archive has all of its content.
    pub index: Option<StoredIndex>,
    /// Layers that the sink received and no image in `images` uses.
    pub unreferenced: Vec<LayerEnd>,
    /// Parts of the archive that were ignored, with reasons.
    pub skipped: Vec<Skipped>,
    /// Remarks on the images, for their owner.
    pub remarks: Vec<String>,
    /// Bytes read of the archive, as stored.
    pub bytes_read: u64,
}

impl Archive {
    /// Everything that the owner of the archive should know: what was ignored and what is odd.
    pub fn notes(&self) -> Vec<String> {
        let skipped = self.skipped.iter().map(|skipped| format!("{}: {}", skipped.what, skipped.why));
        let unused = self
            .unreferenced
            .iter()
            .map(|layer| format!("{}: no image that was chosen uses this layer", shown(layer.name.as_bytes())));
        let all = self.remarks.len().saturating_add(self.skipped.len()).saturating_add(self.unreferenced.len());
        let more = all.checked_sub(MAX_NOTES).filter(|&more| more > 0).map(|more| format!("and {more} more notes"));
        self.remarks.iter().cloned().chain(skipped).chain(unused).take(MAX_NOTES).chain(more).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    DockerSave,
    OciLayout,
}

/// A part of the archive that was ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    pub what: String,
    pub why: String,
}

/// Reads an image archive. Blocking: run it on its own thread.
pub fn read_archive(
    source: ArchiveSource,
    limits: &ArchiveLimits,
    rules: &Rules,
    sink: &mut dyn Sink,
) -> Result<Archive, ArchiveError> {
    let intake = Intake::new(limits, rules, sink);
    let findings = intake.findings();
    let read = match source {
        ArchiveSource::Directory(path) => seekable::read_directory(path, intake),
        ArchiveSource::File(file) if is_plain(&file)? => seekable::read_tar(file, intake),
        ArchiveSource::File(file) => stream::read(ReadAhead::open(Box::new(file), limits)?, intake),
        ArchiveSource::Stream(reader) => stream::read(ReadAhead::open(reader, limits)?, intake),
    };
    // Whatever else is wrong with the archive came after these.
    match findings.take(read.is_ok()) {
        Some(secrets) => Err(ArchiveError::Secret(Box::new(secrets))),
        None => read,
    }
}

/// True for an uncompressed, seekable file. False for a pipe.
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
