//! One layer while it is read: its digests, its size, and a look at its files. A compressed one is inflated on a thread of
//! its own, beside.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::{Buf, Bytes};

use super::{ArchiveError, LayerEnd, LayerStart};
use crate::compress::{DecodeError, DecodeLimits, Decoder, Encoding};
use crate::digest::{Digest, Hasher};
use crate::limits::{Allow, Limits};
use crate::scan::{Scan, ScanError};
use crate::tar::{TarError, TarLimits, shown};

/// Pieces that wait to be inflated.
const WAITING: usize = 4;
const BUFFER: usize = 256 << 10;

/// What all layers together may still have.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    limits: Limits,
    allow: Arc<Allow>,
    bytes: u64,
    entries: u64,
}

impl Budget {
    pub fn new(limits: &Limits, allow: &Allow) -> Self {
        Self {
            limits: *limits,
            allow: Arc::new(allow.clone()),
            bytes: limits.image_bytes,
            entries: limits.layer_entries,
        }
    }

    fn most(&self) -> u64 {
        self.bytes.min(self.limits.layer_bytes)
    }

    fn spend(&mut self, content: &Content) {
        self.bytes = self.bytes.saturating_sub(content.hasher.bytes());
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
    #[error("cannot be read: {0}")]
    Thread(io::Error),
}

/// The uncompressed layer.
struct Content {
    hasher: Hasher,
    scan: Scan,
    most: u64,
}

impl Content {
    fn feed(&mut self, piece: &[u8]) -> Result<(), LayerFault> {
        self.hasher.update(piece);
        if self.hasher.bytes() > self.most {
            return Err(LayerFault::TooLarge);
        }
        Ok(self.scan.feed(piece)?)
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
    pub fn new(start: LayerStart, budget: &Budget) -> Result<Self, ArchiveError> {
        let most = budget.most();
        let fail = |fault| failure(&start.name, most, fault);
        if start.encoding == Encoding::Plain && start.size > most {
            return Err(fail(LayerFault::TooLarge));
        }
        let limits = budget.limits;
        let tar = TarLimits { path_bytes: limits.path_bytes, pax_bytes: limits.pax_bytes, entries: budget.entries };
        let scan = Scan::new(Arc::clone(&budget.allow), tar);
        let content = Content { hasher: Hasher::new(), scan, most };
        let work = match start.encoding {
            Encoding::Plain => Work::Plain(Box::new(content)),
            encoding => {
                let (pieces, waiting) = sync_channel(WAITING);
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

    /// False: nothing more is wanted, since what came is wrong. `finish` says how.
    pub fn feed(&mut self, piece: &Bytes) -> Result<bool, ArchiveError> {
        match &mut self.work {
            Work::Plain(content) => {
                content.feed(piece).map_err(|fault| failure(&self.start.name, self.most, fault))?;
                Ok(true)
            }
            Work::Packed { stored, pieces, .. } => {
                stored.update(piece);
                Ok(pieces.send(piece.clone()).is_ok())
            }
        }
    }

    pub fn finish(self, budget: &mut Budget) -> Result<LayerEnd, ArchiveError> {
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
        Ok(LayerEnd { name: start.name, diff_id, diff_bytes, blob, size, encoding: start.encoding })
    }
}

/// What is sent to the thread, as it reads it.
struct Pieces {
    waiting: Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Pieces {
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
    let mut decoder = Decoder::new(encoding, Pieces { waiting, piece: Bytes::new() }, limits)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match decoder.fill(&mut buffer)? {
            0 => return Ok(content),
            count => content.feed(buffer.get(..count).unwrap_or_default())?,
        }
    }
}

/// Says which layer it is and what to do about it.
fn failure(name: &str, most: u64, fault: LayerFault) -> ArchiveError {
    let layer = format!("the layer {}", shown(name.as_bytes()));
    let too_much = |what: String, limit: String, advice| ArchiveError::TooMuch { what, limit, advice };
    match fault {
        LayerFault::TooLarge | LayerFault::Decode(DecodeError::Bytes { .. }) => too_much(
            format!("what {layer} takes uncompressed"),
            size(most),
            "; make the image smaller, or let the operator raise the limit",
        ),
        LayerFault::Decode(DecodeError::Ratio { ratio }) => too_much(
            format!("{layer} unpacks to {ratio} times its size: that"),
            "what is taken for an image".to_owned(),
            "; save it uncompressed if it is meant so",
        ),
        LayerFault::Decode(DecodeError::Window { limit }) => {
            too_much(format!("the zstd window of {layer}"), size(limit), "; compress it without --ultra or --long")
        }
        LayerFault::Scan(ScanError::Tar(TarError::TooMuch { what, limit, .. })) => {
            too_much(format!("{layer} has {what}: that"), limit.to_string(), "; build the image with smaller layers")
        }
        LayerFault::Scan(ScanError::Secret { what, path }) => ArchiveError::Secret {
            found: format!(
                "{layer} has {what} at {path}: leave it out of the build (.dockerignore) and give secrets to the \
                 deployment instead, or allow this path"
            ),
        },
        LayerFault::Scan(error @ ScanError::Device { .. }) => {
            ArchiveError::Bad(format!("{layer} {error}: build the image without it, since containers get their own"))
        }
        LayerFault::Scan(error @ ScanError::Traversal { .. }) => ArchiveError::Bad(format!(
            "{layer} {error}: build the image again with a program that writes no such paths"
        )),
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

/// A limit in a unit that it is whole in.
pub(super) fn size(bytes: u64) -> String {
    [(30, "GiB"), (20, "MiB"), (10, "KiB")]
        .iter()
        .find(|(shift, _)| bytes >> shift > 0 && bytes.trailing_zeros() >= *shift)
        .map_or_else(|| format!("{bytes} bytes"), |(shift, unit)| format!("{} {unit}", bytes >> shift))
}

/// What was claimed of a layer, and what came.
pub(super) fn check(name: &str, expected: Option<Digest>, found: Digest) -> Result<(), ArchiveError> {
    match expected {
        Some(expected) if expected != found => {
            Err(ArchiveError::Digest { name: shown(name.as_bytes()), expected, found })
        }
        _ => Ok(()),
    }
}
