//! Segments: objects that hold a run of an agent's lines, compressed. A segment's name says its first line's number and
//! time; it ends where the next one begins. It grows by whole frames until it is full, and each frame ends with how far
//! containers were read. Pure.

use std::io::{BufRead as _, BufReader, Read as _};
use std::sync::Arc;

use cofferdam_contract::LogLine;
use serde::{Deserialize, Serialize};

use super::batch::{Batch, Builder};
use super::positions::Positions;

/// Lines of one segment, before compression; and after.
pub const FULL: usize = 1 << 20;
pub const FULL_COMPRESSED: usize = 256 << 10;
/// Of a segment that somebody else wrote.
pub const MOST_COMPRESSED: u64 = 16 << 20;
const MOST: u64 = 64 << 20;
const LEVEL: i32 = 3;
/// 2 to the power of this: the most that a frame may look back.
const WINDOW_LOG: u32 = 23;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The number of its first line.
    pub first: u64,
    /// When that was written, in milliseconds of Unix time.
    pub first_ms: u64,
    pub size: u64,
}

impl SegmentInfo {
    pub fn name(&self) -> String {
        format!("{:020}-{:015}.zst", self.first, self.first_ms)
    }

    pub fn parse(name: &str, size: u64) -> Option<Self> {
        let (first, first_ms) = name.strip_suffix(".zst")?.split_once('-')?;
        (first.len() == 20 && first_ms.len() == 15).then_some(())?;
        Some(Self { first: first.parse().ok()?, first_ms: first_ms.parse().ok()?, size })
    }
}

#[derive(Serialize, Deserialize)]
struct Trailer {
    positions: Positions,
}

/// One frame: the lines of these batches, and how far containers were read with them.
pub fn encode(batches: &[Arc<Batch>], positions: &Positions) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(batches.iter().map(|batch| batch.weight()).sum());
    batches.iter().for_each(|batch| batch.write_json(&mut text));
    serde_json::to_writer(&mut text, &Trailer { positions: positions.clone() })?;
    text.push(b'\n');
    zstd::stream::encode_all(&*text, LEVEL)
}

/// What a segment holds.
#[derive(Debug, Default)]
pub struct Decoded {
    pub batches: Vec<Arc<Batch>>,
    /// As of its last frame.
    pub positions: Positions,
    /// What comes after cannot be read.
    pub damaged: bool,
}

impl Decoded {
    pub fn last(&self) -> u64 {
        self.batches.last().map_or(0, |batch| batch.last())
    }

    pub fn weight(&self) -> usize {
        self.batches.iter().map(|batch| batch.weight()).sum::<usize>() + 256
    }
}

/// Reads as much as can be read.
pub fn decode(bytes: &[u8]) -> Decoded {
    let mut decoded = Decoded::default();
    decoded.damaged = fill(bytes, &mut decoded).is_err();
    decoded
}

fn fill(bytes: &[u8], decoded: &mut Decoded) -> std::io::Result<()> {
    let mut decoder = zstd::stream::read::Decoder::new(bytes)?;
    decoder.window_log_max(WINDOW_LOG)?;
    let mut reader = BufReader::with_capacity(64 << 10, decoder.take(MOST));
    let (mut line, mut builder, mut last) = (Vec::new(), Builder::default(), 0);
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line);
        if !matches!(read, Ok(1..)) || line.last() != Some(&b'\n') {
            decoded.batches.extend(builder.seal());
            let whole = read? == 0 && line.is_empty();
            return if whole { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) };
        }
        if let Ok(found) = serde_json::from_slice::<LogLine>(&line) {
            // Numbers that do not rise would break every search.
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
    use crate::agents::logs::positions::Container;

    fn frame(numbers: std::ops::Range<u64>, positions: &Positions) -> Vec<u8> {
        let mut builder = Builder::default();
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
        let bomb = zstd::stream::encode_all(std::io::repeat(b'x').take(MOST + 10), 3).unwrap();
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
