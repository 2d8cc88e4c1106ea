//! A stream, read and decompressed ahead on a thread of its own. It never is more than a few pieces ahead.

use std::io::{Cursor, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;

use super::ArchiveError;
use super::buffers::Buffers;
use super::layer::size;
use crate::compress::{DecodeError, DecodeLimits, Decoder, Encoding, Seen, sniff};
use crate::limits::Limits;
use crate::tar::looks_like_tar;

/// Pieces that wait.
const AHEAD: usize = 8;
/// Enough to tell what it is.
const HEAD: usize = 512;

/// The uncompressed archive in pieces.
pub(super) struct Feed {
    pieces: Receiver<Result<Bytes, ArchiveError>>,
    seen: Arc<Seen>,
}

impl Feed {
    pub fn open(mut reader: Box<dyn Read + Send>, limits: &Limits) -> Result<Self, ArchiveError> {
        let mut head = Vec::with_capacity(HEAD);
        reader.by_ref().take(HEAD as u64).read_to_end(&mut head).map_err(ArchiveError::Read)?;
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
        let (sender, pieces) = sync_channel(AHEAD);
        std::thread::Builder::new()
            .name("read-archive".to_owned())
            .spawn(move || pump(&mut decoder, &sender, encoding))
            .map_err(ArchiveError::Read)?;
        Ok(Self { pieces, seen })
    }

    /// The next piece; none at the end.
    pub fn next(&mut self) -> Result<Option<Bytes>, ArchiveError> {
        self.pieces.recv().ok().transpose()
    }

    /// Bytes of the stream, as it came.
    pub fn bytes_read(&self) -> u64 {
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
                let inside = buffer.get(..count.min(HEAD)).unwrap_or_default();
                if std::mem::take(&mut first) && !looks_like_tar(inside) {
                    Err(ArchiveError::NotAnArchive { looks: "is compressed, but there is no tar archive in it" })
                } else {
                    Ok(buffers.share(buffer, count))
                }
            }
            Err(error) => Err(failure(error, decoder.seen().bytes())),
        };
        let last = piece.is_err();
        // Nobody reads any more: the archive was refused, or the push has ended.
        if pieces.send(piece).is_err() || last {
            return;
        }
    }
}

/// Refuses early, and by name, what people send by mistake.
pub(super) fn recognize(head: &[u8]) -> Result<(), ArchiveError> {
    let looks = match head {
        [] => "is empty",
        _ if sniff(head) != Encoding::Plain || looks_like_tar(head) => return Ok(()),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => "is a zip file",
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => "is compressed with xz, and gzip and zstd are what can be read",
        [b'B', b'Z', b'h', ..] => "is compressed with bzip2, and gzip and zstd are what can be read",
        [4, 0x22, 0x4d, 0x18, ..] => "is compressed with lz4, and gzip and zstd are what can be read",
        [0x7f, b'E', b'L', b'F', ..] => "is a program",
        [b'h', b's' | b'q', b's' | b'f', ..] => "is the image of a disk",
        _ if head.len() < HEAD => "is too short",
        _ if is_text(head) => "is text",
        _ => "begins like nothing that is known",
    };
    Err(ArchiveError::NotAnArchive { looks })
}

fn is_text(head: &[u8]) -> bool {
    head.iter().all(|&byte| byte >= b' ' || matches!(byte, b'\n' | b'\r' | b'\t'))
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
        DecodeError::Ratio { ratio } => too_much(
            format!("the archive unpacks to {ratio} times its size: that"),
            "what is taken for an image".to_owned(),
            "; send it uncompressed if it is meant so",
        ),
        DecodeError::Bytes { limit } => {
            too_much("the archive, uncompressed,".to_owned(), size(limit), "; let the operator raise the limit")
        }
    }
}
