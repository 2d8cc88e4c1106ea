//! An archive that can be read only once: takes in layers as they arrive, keeps documents, and decides at the end what
//! the archive was. Never seeks.

use std::collections::{HashMap, HashSet};

use bytes::{Bytes, BytesMut};

use super::documents::{Found, Kept, need};
use super::feed::ReadAhead;
use super::holes::{Holes, zeros};
use super::intake::{Intake, Pieces};
use super::json::looks_like_json;
use super::looks::looks;
use super::paths::{blob_digest, clean, hints};
use super::{Archive, ArchiveError, LayerStart};
use crate::compress::{Encoding, sniff};
use crate::digest::{Digest, Hasher};
use crate::limits::ArchiveLimits;
use crate::shown::shown;
use crate::tar::{Entry, Kind, Run, Runs, Sparse, Step, Tar, TarError, TarLimits, looks_like_tar};

/// The bytes by which a cache can recognize a layer.
pub(super) const HEAD_BYTES: usize = 64 << 10;
/// The most padding after the end marker: some programs fill their last record.
const MAX_PADDING_BYTES: u64 = 16 << 20;

pub(super) fn read(feed: ReadAhead, mut intake: Intake<'_>) -> Result<Archive, ArchiveError> {
    let mut entries = Entries::new(feed, intake.limits);
    let mut kept = Kept::default();
    let mut paths = Paths::default();
    // Of every file, to compare a second one of the same name.
    let mut first: HashMap<String, Option<Digest>> = HashMap::new();
    while let Some(entry) = entries.next()? {
        match paths.file(&entry, &mut intake)? {
            Named::New(path) => {
                let digest = file(path.clone(), entry.whole(), &mut entries, &mut kept, &mut intake)?;
                first.insert(path, digest);
            }
            Named::Again(path) => {
                let again = entries.digest()?;
                if first.get(&path).copied().flatten() != Some(again) {
                    return Err(two_entries(&path));
                }
            }
            Named::Nothing => {}
        }
    }
    let resolved = intake.resolve(&mut kept)?;
    let bytes_read = entries.feed.bytes_read();
    intake.finish(resolved, bytes_read)
}

/// Handles one regular file: a layer, a document, or something irrelevant. Returns the digest of its bytes, if it was
/// read.
fn file(
    path: String,
    bytes: u64,
    entries: &mut Entries,
    kept: &mut Kept,
    intake: &mut Intake<'_>,
) -> Result<Option<Digest>, ArchiveError> {
    let head = entries.head(HEAD_BYTES)?;
    let encoding = sniff(&head);
    let is_blob = blob_digest(&path).is_some();
    let empty = bytes == 0 && (is_blob || path.ends_with(".tar"));
    if encoding != Encoding::Plain || empty || looks_like_tar(&head) {
        let (mut diff_id, blob) = match blob_digest(&path) {
            Some(blob) => (None, Some(blob)),
            None => hints(&path),
        };
        if encoding == Encoding::Plain {
            diff_id = diff_id.or(blob);
        }
        let blob = blob.or(diff_id.filter(|_| encoding == Encoding::Plain));
        kept.note(path.clone(), Found::Other);
        let start = LayerStart { name: path, size: bytes, encoding, diff_id, blob, head, place: None };
        return intake.layer(start, entries);
    }
    intake.strange(&path, looks(&head));
    let is_main = matches!(path.as_str(), "manifest.json" | "index.json");
    if is_main || looks_like_json(&head) && !is_legacy(&path) {
        let Some(limit) = kept.over(bytes, intake.limits) else {
            let document = entries.all(bytes)?;
            let digest = Digest::of(&document);
            kept.keep(path, document)?;
            return Ok(Some(digest));
        };
        kept.note(path.clone(), Found::TooLarge { limit });
        if is_main {
            need(kept, "the manifest", &path)?;
        }
    } else {
        kept.note(path, Found::Other);
    }
    entries.digest().map(Some)
}

/// Files that old versions of `docker save` write beside each layer. They are obsolete.
fn is_legacy(path: &str) -> bool {
    path.ends_with("/json") || path == "repositories"
}

/// The paths seen so far.
#[derive(Default)]
pub(super) struct Paths(HashSet<String>);

/// The kind of an entry, to the reader.
pub(super) enum Named {
    /// A regular file.
    New(String),
    /// A regular file whose name was there before. Some tools write a layer as often as it is used, and that is good if
    /// the bytes are the same; programs differ in which of two different ones they take.
    Again(String),
    /// A link, which was recorded, or a folder.
    Nothing,
}

impl Paths {
    /// Links are recorded, folders ignored, regular files returned, everything else is refused.
    pub(super) fn file(&mut self, entry: &Entry, intake: &mut Intake<'_>) -> Result<Named, ArchiveError> {
        let path = clean(&entry.name)?;
        let bad = |what: &str| {
            let path = shown(path.as_bytes());
            Err(ArchiveError::Bad(format!("the archive has {what} {path}; save the image again")))
        };
        if entry.kind == Kind::Directory {
            return Ok(Named::Nothing);
        }
        if path.is_empty() {
            return bad("an entry without a name:");
        }
        let is_new = self.0.insert(path.clone());
        match entry.kind {
            Kind::Device => bad("the device node"),
            Kind::Fifo => bad("the named pipe"),
            Kind::HardLink | Kind::Symlink => {
                // A link in place of a file is another file. The same link again is not.
                let was_link = is_new || intake.links.has(&path);
                let same = intake.links.add(&path, &entry.link, entry.kind == Kind::Symlink)?;
                if same && was_link { Ok(Named::Nothing) } else { Err(two_entries(&path)) }
            }
            Kind::File | Kind::Other if is_new => Ok(Named::New(path)),
            Kind::File | Kind::Other => Ok(Named::Again(path)),
            _ => Ok(Named::Nothing),
        }
    }
}

/// The refusal of two different files of one name.
pub(super) fn two_entries(path: &str) -> ArchiveError {
    let path = shown(path.as_bytes());
    ArchiveError::Bad(format!("the archive has two entries {path}, and they differ; save the image again"))
}

/// The entries of the archive.
struct Entries {
    feed: ReadAhead,
    tar: Tar,
    piece: Bytes,
    /// Data of the current entry that was peeked at and not yet consumed.
    looked: Vec<Bytes>,
    /// The name of the current entry.
    name: Vec<u8>,
    inside: bool,
    /// The stretches of a sparse file that were not reached yet, and the rest of the one that was.
    runs: Option<Runs>,
    run: Option<Run>,
    /// Stored bytes of a sparse file beyond the current stretch.
    rest: Bytes,
    holes: Holes,
}

impl Entries {
    fn new(feed: ReadAhead, limits: &ArchiveLimits) -> Self {
        Self {
            feed,
            tar: Tar::new(tar_limits(limits)),
            piece: Bytes::new(),
            looked: Vec::new(),
            name: Vec::new(),
            inside: false,
            runs: None,
            run: None,
            rest: Bytes::new(),
            holes: Holes::new(limits),
        }
    }

    /// The next entry, after the previous one was consumed or skipped. `None` at the end of the archive, once the whole
    /// stream was read.
    fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut after = 0_u64;
        while self.more()? {
            let (taken, step) = self.tar.step(&self.piece).map_err(damaged)?;
            let part = self.piece.split_to(taken.min(self.piece.len()));
            match step {
                Step::Entry(entry) => {
                    self.name.clone_from(&entry.name);
                    self.inside = true;
                    self.runs = entry.sparse.clone().map(Sparse::into_runs);
                    (self.run, self.rest) = (None, Bytes::new());
                    return Ok(Some(entry));
                }
                Step::After => {
                    after = after.saturating_add(part.len() as u64);
                    if after > MAX_PADDING_BYTES {
                        let what = "the archive goes on after its end; send only one archive";
                        return Err(ArchiveError::Bad(what.to_owned()));
                    }
                }
                Step::More | Step::Data | Step::EndOfEntry => {}
            }
        }
        if self.tar.may_end(false) { Ok(None) } else { Err(self.truncated()) }
    }

    /// True if there is more input.
    fn more(&mut self) -> Result<bool, ArchiveError> {
        if self.piece.is_empty() {
            match self.feed.next()? {
                Some(piece) => self.piece = piece,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn truncated(&self) -> ArchiveError {
        let within = if self.inside { shown(&self.name) } else { "its table".to_owned() };
        ArchiveError::Truncated { within, at: self.tar.at() }
    }

    /// The next data of the entry. A sparse file becomes whole.
    fn data(&mut self) -> Result<Option<Bytes>, ArchiveError> {
        loop {
            match self.run {
                Some(Run::Zeros(left)) if left > 0 => {
                    let (piece, count) = zeros(left);
                    self.holes.count(count, self.tar.at(), self.feed.bytes_read())?;
                    self.run = Some(Run::Zeros(left.saturating_sub(count)));
                    return Ok(Some(piece));
                }
                Some(Run::Stored(left)) if left > 0 => {
                    let mut piece = match std::mem::take(&mut self.rest) {
                        rest if rest.is_empty() => self.stored()?.ok_or_else(|| self.truncated())?,
                        rest => rest,
                    };
                    if let Some(most) = usize::try_from(left).ok().filter(|&most| most < piece.len()) {
                        self.rest = piece.split_off(most);
                    }
                    self.run = Some(Run::Stored(left.saturating_sub(piece.len() as u64)));
                    return Ok(Some(piece));
                }
                _ => {}
            }
            self.run = match self.runs.as_mut().map(Iterator::next) {
                Some(Some(run)) => Some(run),
                Some(None) | None => return self.stored(),
            };
        }
    }

    /// The next bytes of the entry as the archive stores them.
    fn stored(&mut self) -> Result<Option<Bytes>, ArchiveError> {
        while self.inside {
            if !self.more()? {
                return Err(self.truncated());
            }
            let (taken, step) = self.tar.step(&self.piece).map_err(damaged)?;
            let part = self.piece.split_to(taken.min(self.piece.len()));
            match step {
                Step::Data => return Ok(Some(part)),
                _ => self.inside = false,
            }
        }
        Ok(None)
    }

    /// Peeks at the first bytes of the entry, up to `most`.
    fn head(&mut self, most: usize) -> Result<Bytes, ArchiveError> {
        let mut length = 0_usize;
        while length < most {
            let Some(piece) = self.data()? else { break };
            length = length.saturating_add(piece.len());
            self.looked.push(piece);
        }
        let head = match self.looked.as_slice() {
            [one] => one.clone(),
            several => {
                let mut all = BytesMut::with_capacity(length);
                several.iter().for_each(|piece| all.extend_from_slice(piece));
                all.freeze()
            }
        };
        // Popped from the end, so reverse it.
        self.looked.reverse();
        Ok(head.slice(..most.min(head.len())))
    }

    /// The digest of an entry that nothing else is done with.
    fn digest(&mut self) -> Result<Digest, ArchiveError> {
        let mut hasher = Hasher::new();
        while let Some(piece) = self.piece()? {
            hasher.update(&piece);
        }
        Ok(hasher.finish())
    }

    /// A whole entry whose size was checked.
    fn all(&mut self, bytes: u64) -> Result<Bytes, ArchiveError> {
        let mut all = BytesMut::with_capacity(usize::try_from(bytes).unwrap_or_default());
        while let Some(piece) = self.piece()? {
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }
}

impl Pieces for Entries {
    fn piece(&mut self) -> Result<Option<Bytes>, ArchiveError> {
        match self.looked.pop() {
            Some(piece) => Ok(Some(piece)),
            None => self.data(),
        }
    }

    fn skip(&mut self) -> Result<(), ArchiveError> {
        while self.piece()?.is_some() {}
        Ok(())
    }

    fn are_still_at(&self, _: &str) -> bool {
        false
    }
}

pub(super) fn tar_limits(limits: &ArchiveLimits) -> TarLimits {
    TarLimits {
        // All paths are kept, and no archive format has long ones.
        path_bytes: limits.path_bytes.min(1_024),
        pax_bytes: limits.pax_bytes,
        entries: limits.archive_entries as u64,
    }
}

pub(super) fn damaged(error: TarError) -> ArchiveError {
    match error {
        TarError::Damaged { .. } => ArchiveError::Bad(format!("the archive {error}; save or send it again")),
        TarError::TooMuch { what, limit, .. } => ArchiveError::TooMuch {
            what: format!("the archive has {what}, which"),
            limit: limit.to_string(),
            advice: "; send an archive that `docker save` wrote",
        },
    }
}
