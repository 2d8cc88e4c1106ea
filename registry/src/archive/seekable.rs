//! A seekable archive: an uncompressed file, or a folder with an OCI layout. Reads the documents first, then only the
//! wanted layers, in their order.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;

use super::buffers::{Buffers, PIECE};
use super::documents::{Documents, Found, Kept, looks_like_json};
use super::intake::{Intake, Pieces};
use super::stream::{Paths, damaged, tar_limits};
use super::{Archive, ArchiveError, LayerStart};
use crate::compress::{Encoding, sniff};
use crate::digest::Digest;
use crate::limits::ArchiveLimits;
use crate::tar::{Step, Tar, looks_like_tar, shown};

const BLOCK: usize = 512;

pub(super) fn read_tar(file: File, mut intake: Intake<'_>) -> Result<Archive, ArchiveError> {
    let places = index(&file, &mut intake)?;
    let limits = *intake.limits;
    read(Seekable::new(Place::Tar { file, places }, limits), intake)
}

pub(super) fn read_directory(path: PathBuf, intake: Intake<'_>) -> Result<Archive, ArchiveError> {
    let limits = *intake.limits;
    let mut seekable = Seekable::new(Place::Directory(path), limits);
    if matches!(seekable.find("index.json")?, Found::Missing) {
        return Err(ArchiveError::NotAnArchive { looks: "is a folder without `index.json`, so not an OCI layout" });
    }
    read(seekable, intake)
}

fn read(mut seekable: Seekable, mut intake: Intake<'_>) -> Result<Archive, ArchiveError> {
    let resolved = intake.resolve(&mut seekable)?;
    let buffers = Buffers::default();
    let mut taken = HashMap::new();
    for candidate in &resolved.candidates {
        for (listed, &diff_id) in candidate.layers.iter().zip(&candidate.diff_ids) {
            let path = intake.links.follow(&listed.path)?.to_owned();
            if taken.insert(path.clone(), ()).is_some() {
                continue;
            }
            // A missing layer is reported later, with its number, when the image is assembled.
            let Some(range) = seekable.open(&path)? else { continue };
            layer(path, diff_id, listed.blob, range, &buffers, &mut seekable, &mut intake)?;
        }
    }
    let bytes_read = seekable.read;
    intake.finish(resolved, bytes_read)
}

fn layer(
    path: String,
    diff_id: Digest,
    blob: Option<Digest>,
    range: Range,
    buffers: &Buffers,
    seekable: &mut Seekable,
    intake: &mut Intake<'_>,
) -> Result<(), ArchiveError> {
    let mut head = vec![0; BLOCK.min(usize::try_from(range.left).unwrap_or(BLOCK))];
    read_at(&range.file, &mut head, range.at, &path)?;
    let encoding = sniff(&head);
    if encoding == Encoding::Plain && range.left > 0 && !looks_like_tar(&head) {
        return Err(ArchiveError::Bad(format!(
            "the layer {} is neither a tar archive nor compressed by gzip or zstd; save the image again",
            shown(path.as_bytes())
        )));
    }
    let blob = blob.or(Some(diff_id).filter(|_| encoding == Encoding::Plain));
    let start = LayerStart {
        name: path.clone(),
        size: range.left,
        encoding,
        diff_id: Some(diff_id),
        blob,
        head: head.into(),
        seekable: true,
    };
    let mut pieces = RangePieces { range, path, buffers, read: &mut seekable.read };
    intake.layer(start, &mut pieces)
}

/// A section of a file.
struct Range {
    file: File,
    at: u64,
    left: u64,
}

struct RangePieces<'a> {
    range: Range,
    path: String,
    buffers: &'a Buffers,
    read: &'a mut u64,
}

impl Pieces for RangePieces<'_> {
    fn piece(&mut self) -> Result<Option<Bytes>, ArchiveError> {
        let length = PIECE.min(usize::try_from(self.range.left).unwrap_or(PIECE));
        if length == 0 {
            return Ok(None);
        }
        let mut buffer = self.buffers.take();
        let part = buffer.get_mut(..length).unwrap_or_default();
        read_at(&self.range.file, part, self.range.at, &self.path)?;
        self.range.at = self.range.at.saturating_add(length as u64);
        self.range.left = self.range.left.saturating_sub(length as u64);
        *self.read = self.read.saturating_add(length as u64);
        Ok(Some(self.buffers.share(buffer, length)))
    }

    fn skip(&mut self) -> Result<(), ArchiveError> {
        self.range.left = 0;
        Ok(())
    }
}

fn read_at(file: &File, buffer: &mut [u8], at: u64, path: &str) -> Result<(), ArchiveError> {
    file.read_exact_at(buffer, at).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ArchiveError::Truncated { within: shown(path.as_bytes()), at },
        _ => ArchiveError::Read(error),
    })
}

struct Seekable {
    place: Place,
    limits: ArchiveLimits,
    /// Documents read so far; they are looked up more than once.
    kept: Kept,
    /// Bytes of layers and documents read so far.
    read: u64,
}

enum Place {
    /// The offset and length of each file in the archive.
    Tar {
        file: File,
        places: HashMap<String, (u64, u64)>,
    },
    Directory(PathBuf),
}

impl Seekable {
    fn new(place: Place, limits: ArchiveLimits) -> Self {
        Self { place, limits, kept: Kept::default(), read: 0 }
    }

    fn open(&self, path: &str) -> Result<Option<Range>, ArchiveError> {
        match &self.place {
            Place::Tar { file, places } => {
                let Some(&(at, left)) = places.get(path) else { return Ok(None) };
                Ok(Some(Range { file: file.try_clone().map_err(ArchiveError::Read)?, at, left }))
            }
            Place::Directory(folder) => {
                let path = folder.join(path);
                // Checked before opening, because opening a named pipe would block.
                match path.metadata() {
                    Ok(metadata) if metadata.is_file() => {}
                    Ok(_) => return Ok(None),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(ArchiveError::Read(error)),
                }
                let file = File::open(path).map_err(ArchiveError::Read)?;
                let left = file.metadata().map_err(ArchiveError::Read)?.len();
                Ok(Some(Range { file, at: 0, left }))
            }
        }
    }
}

impl Documents for Seekable {
    fn find(&mut self, path: &str) -> Result<Found, ArchiveError> {
        match self.kept.find(path)? {
            Found::Missing => {}
            found => return Ok(found),
        }
        let Some(range) = self.open(path)? else { return Ok(Found::Missing) };
        if let Some(limit) = self.kept.over(range.left, &self.limits) {
            return Ok(Found::TooLarge { limit });
        }
        let mut bytes = vec![0; usize::try_from(range.left).unwrap_or_default()];
        read_at(&range.file, &mut bytes, range.at, path)?;
        self.read = self.read.saturating_add(range.left);
        if !looks_like_json(&bytes) {
            return Ok(Found::Other);
        }
        self.kept.keep(path.to_owned(), bytes.into())?;
        self.kept.find(path)
    }
}

/// Indexes the files of a tar archive by reading only its headers.
fn index(file: &File, intake: &mut Intake<'_>) -> Result<HashMap<String, (u64, u64)>, ArchiveError> {
    let length = file.metadata().map_err(ArchiveError::Read)?.len();
    let mut tar = Tar::new(tar_limits(intake.limits));
    let mut paths = Paths::default();
    let mut places = HashMap::new();
    let mut block = [0; BLOCK];
    while tar.at() < length {
        let at = tar.at();
        let part = BLOCK.min(usize::try_from(length - at).unwrap_or(BLOCK));
        let mut input = block.get_mut(..part).unwrap_or_default();
        read_at(file, input, at, "its table")?;
        while !input.is_empty() {
            let (taken, step) = tar.step(input).map_err(damaged)?;
            let (_, rest) = input.split_at_mut_checked(taken).unwrap_or_default();
            input = rest;
            match step {
                Step::Entry(entry) => {
                    let begin = tar.at();
                    if let Some(path) = paths.file(&entry, intake)? {
                        places.insert(path, (begin, entry.size));
                    }
                    let end = begin.saturating_add(entry.size);
                    if end > length {
                        return Err(ArchiveError::Truncated { within: shown(&entry.name), at: length });
                    }
                    tar.skip();
                    // A header fills its block, so nothing is left.
                    break;
                }
                Step::After => return Ok(places),
                Step::More | Step::Data | Step::EndOfEntry => {}
            }
        }
    }
    if tar.may_end(false) {
        return Ok(places);
    }
    Err(ArchiveError::Truncated { within: "its table".to_owned(), at: length })
}
