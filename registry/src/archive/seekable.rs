//! A seekable archive: an uncompressed file, or a folder with an OCI layout. Reads the documents first, then only the
//! wanted layers, in their order.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::documents::{Documents, Found, Kept, in_a_folder};
use super::holes::Holes;
use super::intake::Intake;
use super::json::looks_like_json;
use super::looks::looks;
use super::range::{Range, RangePieces, read_at};
use super::stream::{HEAD_BYTES, Named, Paths, damaged, tar_limits, two_entries};
use super::{Archive, ArchiveError, LayerStart};
use crate::buffers::Buffers;
use crate::compress::{Encoding, sniff};
use crate::digest::Digest;
use crate::limits::ArchiveLimits;
use crate::shown::shown;
use crate::tar::{Entry, Step, Tar, looks_like_tar};

const BLOCK: usize = 512;

pub(super) fn read_tar(file: File, mut intake: Intake<'_>) -> Result<Archive, ArchiveError> {
    let file = Arc::new(file);
    let places = index(&file, &mut intake)?;
    let limits = *intake.limits;
    read(Seekable::new(Place::Tar(places), limits), intake)
}

pub(super) fn read_directory(path: PathBuf, intake: Intake<'_>) -> Result<Archive, ArchiveError> {
    let limits = *intake.limits;
    let mut seekable = Seekable::new(Place::Directory(path), limits);
    if matches!(seekable.find("index.json")?, Found::Missing) {
        let looks = match seekable.find("manifest.json")? {
            Found::Missing => "is a folder without `index.json`, so not an OCI layout",
            _ => {
                "is a folder that `dir:` of skopeo and podman writes, or an unpacked archive: write an OCI layout (`oci:`) \
                 or pack it again"
            }
        };
        return Err(ArchiveError::NotAnArchive { looks });
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
    let head = range.head(HEAD_BYTES, &path, buffers)?;
    let encoding = sniff(&head);
    if encoding == Encoding::Plain && range.left > 0 && !looks_like_tar(&head) {
        // Reported when the image is assembled, with the layer's number.
        intake.strange(&path, looks(&head));
        return Ok(());
    }
    let blob = blob.or(Some(diff_id).filter(|_| encoding == Encoding::Plain));
    let start = LayerStart {
        name: path.clone(),
        size: range.left,
        encoding,
        diff_id: Some(diff_id),
        blob,
        head,
        place: range.place(),
    };
    let mut pieces = RangePieces { whole: range.clone(), range, path, buffers, read: &mut seekable.read };
    intake.layer(start, &mut pieces).map(drop)
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
    /// The files of the archive by their paths.
    Tar(HashMap<String, Range>),
    Directory(PathBuf),
}

impl Seekable {
    fn new(place: Place, limits: ArchiveLimits) -> Self {
        Self { place, limits, kept: Kept::default(), read: 0 }
    }

    fn open(&self, path: &str) -> Result<Option<Range>, ArchiveError> {
        match &self.place {
            Place::Tar(places) => Ok(places.get(path).cloned()),
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
                Ok(Some(Range::new(Arc::new(file), 0, left, None)))
            }
        }
    }
}

impl Documents for Seekable {
    fn has(&mut self, path: &str) -> Result<bool, ArchiveError> {
        Ok(self.open(path)?.is_some())
    }

    fn misplaced(&self) -> Option<&str> {
        match &self.place {
            Place::Tar(places) => in_a_folder(places.keys()),
            Place::Directory(_) => None,
        }
    }

    fn find(&mut self, path: &str) -> Result<Found, ArchiveError> {
        match self.kept.find(path)? {
            Found::Missing => {}
            found => return Ok(found),
        }
        let Some(range) = self.open(path)? else { return Ok(Found::Missing) };
        if let Some(limit) = self.kept.over(range.left, &self.limits) {
            return Ok(Found::TooLarge { limit });
        }
        self.read = self.read.saturating_add(range.left);
        let most = usize::try_from(range.left).unwrap_or_default();
        let bytes = range.head(most, path, &Buffers::default())?;
        if !looks_like_json(&bytes) {
            return Ok(Found::Other);
        }
        self.kept.keep(path.to_owned(), bytes)?;
        self.kept.find(path)
    }
}

/// Indexes the files of a tar archive by reading only its headers.
fn index(file: &Arc<File>, intake: &mut Intake<'_>) -> Result<HashMap<String, Range>, ArchiveError> {
    let length = file.metadata().map_err(ArchiveError::Read)?.len();
    let mut tar = Tar::new(tar_limits(intake.limits));
    let mut places = Places {
        paths: Paths::default(),
        found: HashMap::new(),
        digests: HashMap::new(),
        holes: Holes::new(intake.limits),
    };
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
                    let end = begin.saturating_add(entry.size);
                    if end > length {
                        return Err(ArchiveError::Truncated { within: shown(&entry.name), at: length });
                    }
                    places.add(entry, file, begin, length, intake)?;
                    tar.skip();
                    // A header fills its block, so nothing is left.
                    break;
                }
                Step::After => return Ok(places.found),
                Step::More | Step::Data | Step::EndOfEntry => {}
            }
        }
    }
    if tar.may_end(false) {
        return Ok(places.found);
    }
    Err(ArchiveError::Truncated { within: "its table".to_owned(), at: length })
}

struct Places {
    paths: Paths,
    found: HashMap<String, Range>,
    /// Digests of files whose name came a second time.
    digests: HashMap<String, Digest>,
    holes: Holes,
}

impl Places {
    fn add(
        &mut self,
        entry: Entry,
        file: &Arc<File>,
        begin: u64,
        length: u64,
        intake: &mut Intake<'_>,
    ) -> Result<(), ArchiveError> {
        let named = self.paths.file(&entry, intake)?;
        let whole = entry.whole();
        self.holes.count(whole.saturating_sub(entry.size), length, length)?;
        let range = Range::new(Arc::clone(file), begin, whole, entry.sparse);
        match named {
            Named::New(path) => drop(self.found.insert(path, range)),
            Named::Again(path) => {
                let first = match (self.digests.get(&path), self.found.get(&path)) {
                    (Some(&first), _) => first,
                    (None, Some(first)) if first.left == range.left => first.clone().digest(&path)?,
                    _ => return Err(two_entries(&path)),
                };
                if range.digest(&path)? != first {
                    return Err(two_entries(&path));
                }
                self.digests.insert(path, first);
            }
            Named::Nothing => {}
        }
        Ok(())
    }
}
