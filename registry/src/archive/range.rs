//! A layer's bytes in a file: a section of it, or the parts of a sparse file. Never reads beyond the section.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};

use super::ArchiveError;
use super::holes::zeros;
use super::intake::Pieces;
use crate::buffers::{Buffers, PIECE};
use crate::digest::{Digest, Hasher};
use crate::shown::shown;
use crate::tar::{Run, Runs, Sparse};

/// The time since a file's last change after which another one shows in its times: a few ticks of the Linux kernel, and
/// more where a file system counts whole seconds, the coarsest two at a time.
const MIN_AGE: Duration = Duration::from_millis(100);
const MIN_AGE_BY_SECONDS: Duration = Duration::from_secs(3);

/// A section of a file, which may stand for a larger one.
#[derive(Clone)]
pub(super) struct Range {
    file: Arc<File>,
    at: u64,
    /// Bytes that are left, zeros of a sparse file included.
    pub left: u64,
    runs: Option<Runs>,
    /// The rest of the current stretch of a sparse file.
    run: Option<Run>,
}

impl Range {
    pub(super) fn new(file: Arc<File>, at: u64, left: u64, sparse: Option<Sparse>) -> Self {
        Self { file, at, left, runs: sparse.map(Sparse::into_runs), run: None }
    }

    /// The next piece, at most `PIECE` bytes.
    pub(super) fn piece(&mut self, path: &str, buffers: &Buffers) -> Result<Option<Bytes>, ArchiveError> {
        let stored = match &mut self.runs {
            None => self.left,
            Some(runs) => {
                let run = match self.run.take() {
                    Some(Run::Zeros(left) | Run::Stored(left)) if left == 0 => runs.next(),
                    Some(run) => Some(run),
                    None => runs.next(),
                };
                match run {
                    Some(Run::Zeros(left)) => {
                        let (piece, count) = zeros(left);
                        self.run = Some(Run::Zeros(left.saturating_sub(count)));
                        self.left = self.left.saturating_sub(count);
                        return Ok(Some(piece));
                    }
                    Some(Run::Stored(left)) => left,
                    None => 0,
                }
            }
        };
        let length = PIECE.min(usize::try_from(stored).unwrap_or(PIECE));
        if length == 0 {
            return Ok(None);
        }
        let mut buffer = buffers.take();
        read_at(&self.file, buffer.get_mut(..length).unwrap_or_default(), self.at, path)?;
        let count = length as u64;
        self.at = self.at.saturating_add(count);
        self.left = self.left.saturating_sub(count);
        if self.runs.is_some() {
            self.run = Some(Run::Stored(stored.saturating_sub(count)));
        }
        Ok(Some(buffers.share(buffer, length)))
    }

    /// The first bytes, which stay.
    pub(super) fn head(&self, most: usize, path: &str, buffers: &Buffers) -> Result<Bytes, ArchiveError> {
        if self.runs.is_none() {
            let mut head = vec![0; most.min(usize::try_from(self.left).unwrap_or(most))];
            read_at(&self.file, &mut head, self.at, path)?;
            return Ok(head.into());
        }
        let (mut range, mut head) = (self.clone(), BytesMut::new());
        while head.len() < most {
            let Some(piece) = range.piece(path, buffers)? else { break };
            head.extend_from_slice(piece.get(..most).unwrap_or(&piece));
        }
        head.truncate(most);
        Ok(head.freeze())
    }

    /// Names the range: the file, its times, and where in it. Taken before anything is read.
    pub(super) fn place(&self) -> Option<String> {
        self.file.metadata().ok().map(|meta| self.named(&meta))
    }

    fn named(&self, meta: &Metadata) -> String {
        let (modified, changed) = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
        let (at, left) = (self.at, self.left);
        format!("{} {} {} {modified:?} {changed:?} {at} {left}", meta.dev(), meta.ino(), meta.len())
    }

    pub(super) fn digest(mut self, path: &str) -> Result<Digest, ArchiveError> {
        let (mut hasher, buffers) = (Hasher::new(), Buffers::default());
        while let Some(piece) = self.piece(path, &buffers)? {
            hasher.update(&piece);
        }
        Ok(hasher.finish())
    }
}

pub(super) struct RangePieces<'a> {
    /// The whole range, to compare its place.
    pub whole: Range,
    pub range: Range,
    pub path: String,
    pub buffers: &'a Buffers,
    pub read: &'a mut u64,
}

impl Pieces for RangePieces<'_> {
    fn piece(&mut self) -> Result<Option<Bytes>, ArchiveError> {
        let piece = self.range.piece(&self.path, self.buffers)?;
        *self.read = self.read.saturating_add(piece.as_ref().map_or(0, |piece| piece.len() as u64));
        Ok(piece)
    }

    fn skip(&mut self) -> Result<(), ArchiveError> {
        self.range.left = 0;
        self.range.runs = None;
        Ok(())
    }

    fn are_still_at(&self, place: &str) -> bool {
        let Ok(meta) = self.whole.file.metadata() else { return false };
        let ago = |seconds: i64, nanos: i64| {
            let since = Duration::new(seconds.try_into().unwrap_or_default(), nanos.try_into().unwrap_or_default());
            SystemTime::now().duration_since(UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)).unwrap_or_default()
        };
        let age = ago(meta.ctime(), meta.ctime_nsec()).min(ago(meta.mtime(), meta.mtime_nsec()));
        let least = if meta.ctime_nsec() == 0 { MIN_AGE_BY_SECONDS } else { MIN_AGE };
        self.whole.named(&meta) == place && age >= least
    }
}

pub(super) fn read_at(file: &File, buffer: &mut [u8], at: u64, path: &str) -> Result<(), ArchiveError> {
    file.read_exact_at(buffer, at).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ArchiveError::Truncated { within: shown(path.as_bytes()), at },
        _ => ArchiveError::Read(error),
    })
}
