//! Reads one layer: its digests, its size, and a scan of its files. A compressed layer is inflated on its own thread.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::{Buf, Bytes};

use super::{ArchiveError, LayerEnd, LayerStart};
use crate::compress::{DecodeError, DecodeLimits, Decoder, Encoding};
use crate::digest::{Digest, Hasher};
use crate::limits::{Allow, ArchiveLimits};
use crate::scan::{Findings, Scan, ScanError};
use crate::shown::{shown, size};
use crate::tar::{TarError, TarLimits};

/// The most pieces in the queue for inflating.
const MAX_QUEUED_PIECES: usize = 4;
const BUFFER: usize = 256 << 10;

/// The budget that is left for all layers together.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    limits: ArchiveLimits,
    allow: Arc<Allow>,
    /// Files that do not belong into an image, of all layers.
    pub findings: Arc<Findings>,
    bytes: u64,
    entries: u64,
}

impl Budget {
    pub(super) fn new(limits: &ArchiveLimits, allow: &Allow) -> Self {
        Self {
            limits: *limits,
            allow: Arc::new(allow.clone()),
            findings: Arc::default(),
            bytes: limits.image_bytes,
            entries: limits.layer_entries,
        }
    }

    fn most(&self) -> u64 {
        self.bytes.min(self.limits.layer_bytes)
    }

    fn spend(&mut self, content: &Content) {
        self.bytes = self.bytes.saturating_sub(content.whole());
        self.entries = self.entries.saturating_sub(content.scan.entries());
    }
}

#[derive(Debug, thiserror::Error)]
enum LayerFault {
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("is larger than the limit")]
    TooLarge,
    #[error("has sparse files that expand {ratio} times")]
    Sparse { ratio: u64, limit: u64 },
    #[error("cannot be read: {0}")]
    Thread(io::Error),
}

/// The uncompressed layer.
struct Content {
    hasher: Hasher,
    scan: Scan,
    most: u64,
    ratio: u64,
    ratio_after: u64,
}

impl Content {
    /// Bytes of the layer when a node has unpacked it.
    fn whole(&self) -> u64 {
        self.hasher.bytes().saturating_add(self.scan.holes())
    }

    /// `stored`: bytes of the layer that were read for everything so far.
    fn feed(&mut self, piece: &[u8], stored: u64) -> Result<(), LayerFault> {
        self.hasher.update(piece);
        if self.hasher.bytes() > self.most {
            return Err(LayerFault::TooLarge);
        }
        self.scan.feed(piece)?;
        if self.scan.holes() == 0 {
            return Ok(());
        }
        let (whole, limit) = (self.whole(), self.ratio);
        let ratio = whole / stored.max(1);
        match whole {
            whole if whole > self.most => Err(LayerFault::TooLarge),
            whole if whole > self.ratio_after && ratio > limit => Err(LayerFault::Sparse { ratio, limit }),
            _ => Ok(()),
        }
    }
}

pub(super) struct Layer {
    start: LayerStart,
    most: u64,
    work: Work,
}

enum Work {
    Plain(Box<Content>),
    Packed { stored: Hasher, pieces: SyncSender<Bytes>, thread: JoinHandle<Result<Content, LayerFault>> },
}

impl Layer {
    pub(super) fn new(start: LayerStart, budget: &Budget) -> Result<Self, ArchiveError> {
        let most = budget.most();
        let fail = |fault| failure(&start.name, most, fault);
        if start.encoding == Encoding::Plain && start.size > most {
            return Err(fail(LayerFault::TooLarge));
        }
        let limits = budget.limits;
        let tar = TarLimits { path_bytes: limits.path_bytes, pax_bytes: limits.pax_bytes, entries: budget.entries };
        let scan = Scan::new(start.name.clone(), Arc::clone(&budget.allow), Arc::clone(&budget.findings), tar);
        let (ratio, ratio_after) = (limits.ratio, limits.ratio_after);
        let content = Content { hasher: Hasher::new(), scan, most, ratio, ratio_after };
        let work = match start.encoding {
            Encoding::Plain => Work::Plain(Box::new(content)),
            encoding => {
                let (pieces, waiting) = sync_channel(MAX_QUEUED_PIECES);
                let limits = DecodeLimits {
                    bytes: most,
                    ratio: limits.ratio,
                    ratio_after: limits.ratio_after,
                    window_log: limits.zstd_window_log,
                };
                let thread = std::thread::Builder::new()
                    .name("inflate-layer".to_owned())
                    .spawn(move || inflate(encoding, waiting, limits, content))
                    .map_err(|error| fail(LayerFault::Thread(error)))?;
                Work::Packed { stored: Hasher::new(), pieces, thread }
            }
        };
        Ok(Self { start, most, work })
    }

    /// Returns false if the layer is already known to be bad and needs no more data. `finish` says why.
    pub(super) fn feed(&mut self, piece: &Bytes) -> Result<bool, ArchiveError> {
        match &mut self.work {
            Work::Plain(content) => {
                let stored = content.hasher.bytes().saturating_add(piece.len() as u64);
                content.feed(piece, stored).map_err(|fault| failure(&self.start.name, self.most, fault))?;
                Ok(true)
            }
            Work::Packed { stored, pieces, .. } => {
                stored.update(piece);
                Ok(pieces.send(piece.clone()).is_ok())
            }
        }
    }

    pub(super) fn finish(self, budget: &mut Budget) -> Result<LayerEnd, ArchiveError> {
        let Self { start, most, work } = self;
        let fail = |fault| failure(&start.name, most, fault);
        let (mut content, stored) = match work {
            Work::Plain(content) => (*content, None),
            Work::Packed { stored, pieces, thread } => {
                drop(pieces);
                let died = |_| fail(LayerFault::Thread(io::ErrorKind::BrokenPipe.into()));
                (thread.join().map_err(died)?.map_err(fail)?, Some(stored))
            }
        };
        content.scan.finish().map_err(|error| fail(error.into()))?;
        budget.spend(&content);
        let diff_bytes = content.hasher.bytes();
        let diff_id = content.hasher.finish();
        let (size, blob) = stored.map_or((diff_bytes, diff_id), |stored| (stored.bytes(), stored.finish()));
        Ok(LayerEnd { name: start.name, diff_id, diff_bytes, blob, size, encoding: start.encoding, place: None })
    }
}

/// The pieces sent to the thread, as a reader.
struct PieceReader {
    waiting: Receiver<Bytes>,
    piece: Bytes,
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.waiting.recv() {
                Ok(piece) => self.piece = piece,
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        let (part, _) = buffer.split_at_mut(count);
        self.piece.copy_to_slice(part);
        Ok(count)
    }
}

fn inflate(
    encoding: Encoding,
    waiting: Receiver<Bytes>,
    limits: DecodeLimits,
    mut content: Content,
) -> Result<Content, LayerFault> {
    let mut decoder = Decoder::new(encoding, PieceReader { waiting, piece: Bytes::new() }, limits)?;
    let mut buffer = vec![0; BUFFER];
    let seen = decoder.seen();
    loop {
        match decoder.fill(&mut buffer)? {
            0 => return Ok(content),
            count => content.feed(buffer.get(..count).unwrap_or_default(), seen.bytes())?,
        }
    }
}

/// Names the layer and the remedy.
fn failure(name: &str, most: u64, fault: LayerFault) -> ArchiveError {
    let layer = format!("the layer {}", shown(name.as_bytes()));
    let too_much = |what: String, limit: String, advice| ArchiveError::TooMuch { what, limit, advice };
    match fault {
        LayerFault::TooLarge | LayerFault::Decode(DecodeError::Bytes { .. }) => too_much(
            format!("the uncompressed size of {layer}"),
            size(most),
            "; make the image smaller, or ask the operator to raise the limit",
        ),
        LayerFault::Decode(DecodeError::Ratio { ratio, limit }) => too_much(
            format!("{layer} unpacks to {ratio} times its size, which"),
            format!("{limit} times"),
            "; if that is intended, save it uncompressed",
        ),
        LayerFault::Decode(DecodeError::Window { limit }) => {
            too_much(format!("the zstd window of {layer}"), size(limit), "; compress it without --ultra or --long")
        }
        LayerFault::Scan(ScanError::Tar(TarError::TooMuch { what, limit, .. })) => {
            too_much(format!("{layer} has {what}, which"), limit.to_string(), "; build the image with smaller layers")
        }
        LayerFault::Sparse { ratio, limit } => too_much(
            format!("{layer} has sparse files that unpack to {ratio} times its size, which"),
            format!("{limit} times"),
            "; build the image without them, or save them whole",
        ),
        LayerFault::Scan(error @ ScanError::Device { .. }) => {
            ArchiveError::Bad(format!("{layer} {error}: build the image without it; containers get their own"))
        }
        LayerFault::Scan(error @ ScanError::Traversal { .. }) => {
            ArchiveError::Bad(format!("{layer} {error}: build the image with a tool that does not write such paths"))
        }
        LayerFault::Scan(ScanError::Tar(error)) => {
            ArchiveError::Bad(format!("{layer} is not a tar archive, or {error}; build and save the image again"))
        }
        LayerFault::Scan(error @ ScanError::Truncated) => {
            ArchiveError::Bad(format!("{layer} {error}; build and save the image again"))
        }
        LayerFault::Decode(error) => ArchiveError::Bad(format!("{layer}: {error}; build and save the image again")),
        LayerFault::Thread(error) => ArchiveError::Read(error),
    }
}

/// Compares a claimed digest with the actual one.
pub(super) fn check(name: &str, expected: Option<Digest>, found: Digest) -> Result<(), ArchiveError> {
    match expected {
        Some(expected) if expected != found => {
            Err(ArchiveError::Digest { name: shown(name.as_bytes()), expected, found })
        }
        _ => Ok(()),
    }
}
