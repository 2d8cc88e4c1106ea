//! Reads and decompresses a stream on its own thread, at most a few pieces ahead of the consumer.

use std::io::{Cursor, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;

use super::ArchiveError;
use super::looks::{HEAD_BYTES, looks, packed};
use crate::buffers::Buffers;
use crate::compress::{DecodeError, DecodeLimits, Decoder, Encoding, Seen, sniff};
use crate::limits::ArchiveLimits;
use crate::shown::size;
use crate::tar::looks_like_tar;

/// The most pieces in the queue.
const MAX_QUEUED_PIECES: usize = 8;

/// The uncompressed archive, in pieces.
pub(super) struct ReadAhead {
    pieces: Receiver<Result<Bytes, ArchiveError>>,
    seen: Arc<Seen>,
}

impl ReadAhead {
    pub(super) fn open(mut reader: Box<dyn Read + Send>, limits: &ArchiveLimits) -> Result<Self, ArchiveError> {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        reader.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(ArchiveError::Read)?;
        recognize(&head)?;
        let encoding = sniff(&head);
        let decode = DecodeLimits {
            bytes: limits.archive_bytes,
            ratio: limits.ratio,
            ratio_after: limits.ratio_after,
            window_log: limits.zstd_window_log,
        };
        let decoder = Decoder::new(encoding, Cursor::new(head).chain(reader), decode);
        let mut decoder = decoder.map_err(|error| failure(error, 0))?;
        let seen = decoder.seen();
        let (sender, pieces) = sync_channel(MAX_QUEUED_PIECES);
        std::thread::Builder::new()
            .name("read-archive".to_owned())
            .spawn(move || pump(&mut decoder, &sender, encoding))
            .map_err(ArchiveError::Read)?;
        Ok(Self { pieces, seen })
    }

    /// The next piece; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, ArchiveError> {
        self.pieces.recv().ok().transpose()
    }

    /// Bytes of the stream read so far, before decompression.
    pub(super) fn bytes_read(&self) -> u64 {
        self.seen.bytes()
    }
}

fn pump<R: Read>(decoder: &mut Decoder<R>, pieces: &SyncSender<Result<Bytes, ArchiveError>>, encoding: Encoding) {
    let buffers = Buffers::default();
    let mut first = encoding != Encoding::Plain;
    loop {
        let mut buffer = buffers.take();
        let piece = match decoder.fill(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                let inside = buffer.get(..count.min(HEAD_BYTES)).unwrap_or_default();
                if std::mem::take(&mut first) && !looks_like_tar(inside) {
                    Err(ArchiveError::NotAnArchive { looks: "is compressed, but does not contain a tar archive" })
                } else {
                    Ok(buffers.share(buffer, count))
                }
            }
            Err(error) => Err(failure(error, decoder.seen().bytes())),
        };
        let last = piece.is_err();
        // The reader is gone: the archive was refused, or the push has ended.
        if pieces.send(piece).is_err() || last {
            return;
        }
    }
}

/// Refuses common mistakes early, by name.
pub(super) fn recognize(head: &[u8]) -> Result<(), ArchiveError> {
    if let Some((with, command)) = packed(head) {
        return Err(ArchiveError::Compressed { with, command });
    }
    looks(head).map_or(Ok(()), |looks| Err(ArchiveError::NotAnArchive { looks }))
}

fn failure(error: DecodeError, at: u64) -> ArchiveError {
    let too_much = |what: String, limit, advice| ArchiveError::TooMuch { what, limit, advice };
    match error {
        DecodeError::Read(error) => ArchiveError::Read(error),
        DecodeError::Truncated => ArchiveError::Truncated { within: "the compressed data".to_owned(), at },
        DecodeError::Damaged(error) => {
            ArchiveError::Bad(format!("the compressed archive is damaged near byte {at} ({error}); send it again"))
        }
        DecodeError::Window { limit } => too_much(
            "the zstd window of the archive".to_owned(),
            size(limit),
            "; compress it without --ultra or --long",
        ),
        DecodeError::Ratio { ratio, limit } => too_much(
            format!("the archive unpacks to {ratio} times its size, which"),
            format!("{limit} times"),
            "; if that is intended, send it uncompressed",
        ),
        DecodeError::Bytes { limit } => {
            too_much("the archive, uncompressed,".to_owned(), size(limit), "; ask the operator to raise the limit")
        }
    }
}
