//! Reads compressed data: gzip with any number of members, zstd with any number of frames, or plain. Trusts only the
//! first bytes, not names or media types, and stops when far more comes out than goes in.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Encoding;

const BUFFER: usize = 256 << 10;

/// The encoding, from the first bytes.
pub(crate) fn sniff(head: &[u8]) -> Encoding {
    match head {
        [0x1f, 0x8b, ..] => Encoding::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Encoding::Zstd,
        // A skippable frame.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Encoding::Zstd,
        _ => Encoding::Plain,
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct DecodeLimits {
    pub bytes: u64,
    pub ratio: u64,
    pub ratio_after: u64,
    pub window_log: u32,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    /// Reading the input failed.
    #[error("{0}")]
    Read(io::Error),
    #[error("the compressed data ends early")]
    Truncated,
    #[error("the compressed data is damaged: {0}")]
    Damaged(io::Error),
    #[error("the zstd window is larger than {} MiB", limit >> 20)]
    Window { limit: u64 },
    #[error("it expands {ratio} times; the limit is {limit}")]
    Ratio { ratio: u64, limit: u64 },
    #[error("it expands to more than {limit} bytes")]
    Bytes { limit: u64 },
}

/// Counts bytes and separates I/O errors of the source from decoding errors.
pub(crate) struct Counted<R> {
    inner: R,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
pub(crate) struct Seen {
    bytes: AtomicU64,
    failed: AtomicBool,
}

impl Seen {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        match &read {
            Ok(count) => drop(self.seen.bytes.fetch_add(*count as u64, Ordering::Relaxed)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.seen.failed.store(true, Ordering::Relaxed),
        }
        read
    }
}

pub(crate) struct Decoder<R: Read> {
    kind: Algorithm<BufReader<Counted<R>>>,
    seen: Arc<Seen>,
    limits: DecodeLimits,
    out: u64,
}

enum Algorithm<R: BufRead> {
    Plain(R),
    Gzip(Box<flate2::bufread::MultiGzDecoder<R>>),
    Zstd(zstd::stream::read::Decoder<'static, R>),
}

impl<R: Read> Decoder<R> {
    pub(crate) fn new(encoding: Encoding, reader: R, limits: DecodeLimits) -> Result<Self, DecodeError> {
        let seen = Arc::new(Seen::default());
        let reader = Counted { inner: reader, seen: Arc::clone(&seen) };
        // Without a decoder, reads are as large as the caller's buffer.
        let reader = BufReader::with_capacity(BUFFER, reader);
        let kind = match encoding {
            Encoding::Plain => Algorithm::Plain(reader),
            Encoding::Gzip => Algorithm::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(reader))),
            Encoding::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(reader).map_err(DecodeError::Damaged)?;
                decoder.window_log_max(limits.window_log).map_err(DecodeError::Damaged)?;
                Algorithm::Zstd(decoder)
            }
        };
        Ok(Self { kind, seen, limits, out: 0 })
    }

    /// Bytes read so far.
    pub(crate) fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }

    /// Fills the buffer unless the input ends first. 0 means the end.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, DecodeError> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let read = match &mut self.kind {
                Algorithm::Plain(reader) => reader.read(rest),
                Algorithm::Gzip(decoder) => decoder.read(rest),
                Algorithm::Zstd(decoder) => decoder.read(rest),
            };
            match read {
                Ok(0) => break,
                Ok(count) => {
                    filled = filled.saturating_add(count);
                    self.bound(count as u64)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failure(error)),
            }
        }
        Ok(filled)
    }

    fn bound(&mut self, more: u64) -> Result<(), DecodeError> {
        self.out = self.out.saturating_add(more);
        if self.out > self.limits.bytes {
            return Err(DecodeError::Bytes { limit: self.limits.bytes });
        }
        let ratio = self.out / self.seen.bytes().max(1);
        if self.out > self.limits.ratio_after && ratio > self.limits.ratio {
            return Err(DecodeError::Ratio { ratio, limit: self.limits.ratio });
        }
        Ok(())
    }

    fn failure(&self, error: io::Error) -> DecodeError {
        if self.seen.failed.load(Ordering::Relaxed) {
            return DecodeError::Read(error);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => DecodeError::Truncated,
            // The library offers no other way to tell this from damage.
            _ if error.to_string().contains("too much memory") => {
                DecodeError::Window { limit: 1 << self.limits.window_log.min(63) }
            }
            _ => DecodeError::Damaged(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LIMITS: DecodeLimits = DecodeLimits { bytes: 64 << 20, ratio: 100, ratio_after: 1 << 20, window_log: 23 };

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = Decoder::new(sniff(bytes), bytes, LIMITS)?;
        let mut all = Vec::new();
        let mut buffer = [0; 1000];
        loop {
            match decoder.fill(&mut buffer)? {
                0 => return Ok(all),
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
    }

    #[test]
    fn members_and_frames_are_read_one_after_another() {
        assert_eq!(decode(b"plain").unwrap(), b"plain");
        assert_eq!(decode(&[gzip(b"one, "), gzip(b""), gzip(b"two")].concat()).unwrap(), b"one, two");
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9][..]].concat();
        let frame = |text: &[u8]| zstd::bulk::compress(text, 3).unwrap();
        assert_eq!(decode(&[skipped, frame(b"one, "), frame(b"two")].concat()).unwrap(), b"one, two");
    }

    #[test]
    fn what_ends_early_anywhere_is_told_from_what_is_damaged() {
        let text: Vec<u8> = (0..200_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for whole in [gzip(&text), zstd::bulk::compress(&text, 3).unwrap()] {
            for end in 5..whole.len() {
                let error = decode(&whole[..end]).unwrap_err();
                assert!(matches!(error, DecodeError::Truncated), "{end} of {}: {error:?}", whole.len());
            }
        }
        let mut broken = gzip(&text);
        let crc = broken.len() - 6;
        broken[crc] ^= 1;
        assert!(matches!(decode(&broken), Err(DecodeError::Damaged(_))));
    }

    #[test]
    fn bombs_and_wide_windows_are_refused() {
        assert!(matches!(decode(&gzip(&vec![0; 8 << 20])), Err(DecodeError::Ratio { ratio: 101.., .. })));
        let mut wide = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        wide.window_log(26).unwrap();
        wide.write_all(&vec![7; 1 << 20]).unwrap();
        let wide = wide.finish().unwrap();
        assert!(matches!(decode(&wide), Err(DecodeError::Window { limit: 0x80_0000 })));
    }

    #[test]
    fn a_source_that_fails_is_no_damage() {
        struct Broken(Vec<u8>);
        impl Read for Broken {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if self.0.is_empty() {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                let count = buffer.len().min(self.0.len());
                buffer[..count].copy_from_slice(&self.0[..count]);
                self.0.drain(..count);
                Ok(count)
            }
        }
        let mut half = gzip(b"some text that is cut off");
        half.truncate(20);
        let mut decoder = Decoder::new(Encoding::Gzip, Broken(half), LIMITS).unwrap();
        let error = decoder.fill(&mut [0; 100]).unwrap_err();
        assert!(matches!(error, DecodeError::Read(e) if e.kind() == io::ErrorKind::ConnectionReset));
    }
}
