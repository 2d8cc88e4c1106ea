//! Segments: objects that hold a run of an agent's lines, compressed. A segment's name has the number and time of its first
//! line; it ends where the next one begins. It grows by whole frames until it is full, and each frame ends with how far
//! containers were read. Pure.

use std::io::{BufRead as _, BufReader, Read as _};
use std::sync::Arc;

use cofferdam_contract::LogLine;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, BatchBuilder};
use crate::positions::Positions;

/// A segment is full at this many bytes of lines before compression.
pub(crate) const FULL_SEGMENT_BYTES: usize = 1 << 20;
/// A segment is full at this many bytes after compression.
pub(crate) const FULL_COMPRESSED: usize = 256 << 10;
/// The largest segment that is read. Others may have written it.
pub(crate) const MAX_COMPRESSED: u64 = 16 << 20;
const MAX_DECOMPRESSED: u64 = 64 << 20;
const LEVEL: i32 = 3;
/// The logarithm of the largest window that a frame may use.
const WINDOW_LOG: u32 = 23;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentInfo {
    /// The number of its first line.
    pub first: u64,
    /// The time of its first line, in milliseconds of Unix time.
    pub first_ms: u64,
    pub size: u64,
}

impl SegmentInfo {
    pub(crate) fn name(&self) -> String {
        format!("{:020}-{:015}.zst", self.first, self.first_ms)
    }

    pub(crate) fn parse(name: &str, size: u64) -> Option<Self> {
        let (first, first_ms) = name.strip_suffix(".zst")?.split_once('-')?;
        (first.len() == 20 && first_ms.len() == 15).then_some(())?;
        Some(Self { first: first.parse().ok()?, first_ms: first_ms.parse().ok()?, size })
    }
}

#[derive(Serialize, Deserialize)]
struct Trailer {
    positions: Positions,
}

/// Makes one frame of lines, with how far containers were read.
pub(crate) fn encode(batches: &[Arc<Batch>], positions: &Positions) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(batches.iter().map(|batch| batch.weight()).sum());
    batches.iter().for_each(|batch| batch.write_json(&mut text));
    serde_json::to_writer(&mut text, &Trailer { positions: positions.clone() })?;
    text.push(b'\n');
    zstd::stream::encode_all(&*text, LEVEL)
}

/// The content of a segment.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub batches: Vec<Arc<Batch>>,
    /// From its last frame.
    pub positions: Positions,
    /// The rest of the segment cannot be read.
    pub damaged: bool,
}

impl Decoded {
    pub(crate) fn last(&self) -> u64 {
        self.batches.last().map_or(0, |batch| batch.last())
    }

    pub(crate) fn weight(&self) -> usize {
        self.batches.iter().map(|batch| batch.weight()).sum::<usize>() + 256
    }
}

/// Decodes a segment, as far as it can be read.
pub(crate) fn decode(bytes: &[u8]) -> Decoded {
    let mut decoded = Decoded::default();
    decoded.damaged = fill(bytes, &mut decoded).is_err();
    decoded
}

fn fill(bytes: &[u8], decoded: &mut Decoded) -> std::io::Result<()> {
    let mut decoder = zstd::stream::read::Decoder::new(bytes)?;
    decoder.window_log_max(WINDOW_LOG)?;
    let mut reader = BufReader::with_capacity(64 << 10, decoder.take(MAX_DECOMPRESSED));
    let (mut line, mut builder, mut last) = (Vec::new(), BatchBuilder::default(), 0);
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line);
        if !matches!(read, Ok(1..)) || line.last() != Some(&b'\n') {
            decoded.batches.extend(builder.seal());
            let whole = read? == 0 && line.is_empty();
            return if whole { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) };
        }
        if let Ok(found) = serde_json::from_slice::<LogLine>(&line) {
            // Searches need numbers that rise.
            if found.seq > last {
                last = found.seq;
                builder.push(&found);
            }
        } else if let Ok(trailer) = serde_json::from_slice::<Trailer>(&line) {
            decoded.positions = trailer.positions;
        } else {
            decoded.batches.extend(builder.seal());
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        if builder.is_full() {
            decoded.batches.extend(builder.seal());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::positions::Container;

    fn frame(numbers: std::ops::Range<u64>, positions: &Positions) -> Vec<u8> {
        let mut builder = BatchBuilder::default();
        for seq in numbers {
            let time = format!("2026-11-22T01:02:{:02}Z", seq % 60);
            builder.push(&LogLine { seq, time, pod: "p".into(), version: 1, line: format!("line {seq} \u{0}\"") });
        }
        encode(&builder.seal().into_iter().collect::<Vec<_>>(), positions).unwrap()
    }

    #[test]
    fn frames_follow_each_other_and_the_last_position_counts() {
        let container = Container { version: 1, pod: "p".into(), restarts: 2 };
        let mut positions = Positions::default();
        let mut bytes = frame(1..2_000, &positions);
        positions.advance(&container, 77, "t");
        bytes.extend(frame(5_000..5_003, &positions));
        let decoded = decode(&bytes);
        assert!(!decoded.damaged && decoded.batches.len() > 1);
        assert_eq!((decoded.last(), decoded.positions.of(&container).unwrap().at), (5_002, 77));
        let lines: Vec<_> = decoded.batches.iter().flat_map(|batch| batch.lines()).collect();
        assert_eq!(lines.len(), 2_002);
        assert_eq!(lines[1_999].text(), "line 5000 \u{0}\"");
    }

    #[test]
    fn of_a_damaged_segment_the_beginning_is_read() {
        let whole = [frame(1..50, &Positions::default()), frame(50..99, &Positions::default())].concat();
        for cut in [whole.len() - 1, whole.len() - 20, whole.len() / 2 + 20] {
            let decoded = decode(&whole[..cut]);
            assert!(decoded.damaged && decoded.last() >= 49, "{cut}: {}", decoded.last());
        }
        for bad in [&b"not zstd"[..], &whole[3..], b""] {
            assert!(decode(bad).damaged && decode(bad).batches.is_empty());
        }
        let bomb = zstd::stream::encode_all(std::io::repeat(b'x').take(MAX_DECOMPRESSED + 10), 3).unwrap();
        assert!(decode(&bomb).damaged);
        let garbage = zstd::stream::encode_all(&b"{\"seq\":1}\nnonsense\n"[..], 3).unwrap();
        assert!(decode(&garbage).damaged);
    }

    #[test]
    fn names_sort_as_numbers_do() {
        let info = SegmentInfo { first: 42, first_ms: 1_795_000_000_123, size: 9 };
        assert_eq!(info.name(), "00000000000000000042-001795000000123.zst");
        assert_eq!(SegmentInfo::parse(&info.name(), 9), Some(info));
        for bad in ["", "x.zst", "1-2.zst", "00000000000000000042-001795000000123", ".zst"] {
            assert_eq!(SegmentInfo::parse(bad, 0), None);
        }
    }
}
