//! A delta: the pages in which a memory differs from its image. Used for suspended sessions, forks and snapshots.
//!
//! On disk it is one file, little-endian: magic, memory length, number of runs, then each run's offset and length, and
//! from the next page boundary the runs' bytes. `session::disk` records the image that it belongs to. A note of a live
//! session has no header, and refers to the files of earlier notes for unchanged runs.

use std::any::Any;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::slot::PAGE;
use super::vectored::write_all;
use crate::files;

const MAGIC: u64 = u64::from_le_bytes(*b"cfdmdlt1");
/// Runs of at least this many bytes are mapped from the file. Shorter ones are copied.
const MAP_BYTES: usize = 64 << 10;
/// The most mappings, because each uses one of the process's memory areas (65,530 by default).
const MAX_MAPPED: usize = 24;
const MAX_RUNS: u64 = 1 << 20;
/// Bytes copied at once.
const COPY_BYTES: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    #[error("the suspended state is damaged: {0}")]
    Damaged(&'static str),
    #[error("the suspended state cannot be read or written: {0}")]
    Io(#[from] io::Error),
}

/// An immutable file of pages, and whatever counts its bytes for as long as they are used.
#[derive(Debug)]
pub struct Pages {
    file: File,
    _counted: Option<Box<dyn Any + Send + Sync>>,
}

impl Pages {
    pub fn new(file: File, counted: impl Any + Send + Sync) -> Self {
        Self { file, _counted: Some(Box::new(counted)) }
    }
}

impl From<File> for Pages {
    /// A file whose bytes nobody counts.
    fn from(file: File) -> Self {
        Self { file, _counted: None }
    }
}

impl Deref for Pages {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

/// A run of pages and the location of its bytes. Its file is immutable.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// The offset in the memory, in bytes.
    pub(super) offset: usize,
    pub(super) len: usize,
    pub(super) file: Arc<Pages>,
    pub(super) file_offset: u64,
    /// True if slots map it instead of copying it.
    pub(super) mapped: bool,
}

impl Run {
    pub(super) fn end(&self) -> usize {
        self.offset + self.len
    }

    /// True if the other run's bytes are part of this one's.
    pub(super) fn covers(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && self.offset <= other.offset && other.end() <= self.end()
    }

    /// The part of it between two memory offsets.
    fn part(&self, from: usize, to: usize) -> Self {
        let file_offset = self.file_offset + (from - self.offset) as u64;
        Self { offset: from, len: to - from, file: Arc::clone(&self.file), file_offset, mapped: false }
    }
}

/// The parts of `runs` outside `ranges`. Both are sorted by offset and free of overlaps.
pub(super) fn outside(runs: &[Run], ranges: &[(usize, usize)]) -> Vec<Run> {
    let mut left = Vec::with_capacity(runs.len());
    for run in runs {
        let mut at = run.offset;
        let first = ranges.partition_point(|(_, to)| *to <= at);
        for (from, to) in ranges.iter().skip(first).take_while(|(from, _)| *from < run.end()) {
            if *from > at {
                left.push(run.part(at, *from));
            }
            at = (*to).min(run.end());
        }
        if at < run.end() {
            left.push(run.part(at, run.end()));
        }
    }
    left
}

/// Writes ranges of `memory`, one after another.
fn write_ranges(file: &mut File, memory: &[u8], ranges: &[(usize, usize)]) -> io::Result<u64> {
    let bytes = ranges.iter().map(|(from, to)| memory.get(*from..*to));
    let bytes = bytes.collect::<Option<Vec<&[u8]>>>();
    write_all(file, &bytes.ok_or_else(|| io::Error::other("a run lies outside the memory"))?)
}

/// The bytes of a header before so many runs.
fn header_len(runs: usize) -> usize {
    (24 + runs * 16).next_multiple_of(PAGE)
}

fn header(memory_len: usize, runs: impl ExactSizeIterator<Item = (usize, usize)>) -> Vec<u8> {
    let mut header = Vec::with_capacity(header_len(runs.len()));
    for word in [MAGIC, memory_len as u64, runs.len() as u64] {
        header.extend_from_slice(&word.to_le_bytes());
    }
    for (from, to) in runs {
        header.extend_from_slice(&(from as u64).to_le_bytes());
        header.extend_from_slice(&((to - from) as u64).to_le_bytes());
    }
    header.resize(header.len().next_multiple_of(PAGE), 0);
    header
}

#[derive(Debug)]
pub struct Delta {
    memory_len: usize,
    runs: Vec<Run>,
}

impl Delta {
    /// The bytes that [`Delta::write`] writes for these runs.
    pub fn len_of(runs: &[(usize, usize)]) -> u64 {
        header_len(runs.len()) as u64 + runs.iter().map(|(from, to)| (to - from) as u64).sum::<u64>()
    }

    /// Writes the given runs of `memory` from the file's start.
    pub fn write(file: &mut File, memory: &[u8], runs: &[(usize, usize)]) -> io::Result<u64> {
        let header = header(memory.len(), runs.iter().copied());
        file.write_all(&header)?;
        Ok(header.len() as u64 + write_ranges(file, memory, runs)?)
    }

    /// A delta for use in this process: `changed` of `memory`, written to the empty `file`, plus `kept` of earlier
    /// deltas.
    pub(super) fn note(mut file: Pages, memory: &[u8], changed: &[(usize, usize)], kept: Vec<Run>) -> io::Result<Self> {
        write_ranges(&mut file.file, memory, changed)?;
        let file = Arc::new(file);
        let mut runs = kept;
        let mut file_offset = 0;
        for (from, to) in changed {
            let len = to - from;
            runs.push(Run { offset: *from, len, file: Arc::clone(&file), file_offset, mapped: false });
            file_offset += len as u64;
        }
        runs.sort_unstable_by_key(|run| run.offset);
        choose_mapped(&mut runs);
        Ok(Self { memory_len: memory.len(), runs })
    }

    /// Reads a delta's header and checks everything that [`super::Slot::apply`] relies on.
    pub fn open(file: impl Into<Pages>) -> Result<Self, DeltaError> {
        let pages: Pages = file.into();
        let mut file = &pages.file;
        file.seek(SeekFrom::Start(0))?;
        let file_len = files::len(file)?;
        let mut words = [0_u8; 24];
        file.read_exact(&mut words)?;
        let word = |i: usize| words.get(i * 8..i * 8 + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
        let (magic, memory_len, count) = (word(0), word(1), word(2));
        if magic != MAGIC {
            return Err(DeltaError::Damaged("not a delta of this version"));
        }
        if count > MAX_RUNS || memory_len > 4 << 30 {
            return Err(DeltaError::Damaged("sizes out of range"));
        }
        let mut table = vec![0_u8; count as usize * 16];
        file.read_exact(&mut table)?;
        let mut file_offset = (24 + table.len()).next_multiple_of(PAGE) as u64;
        let mut runs = Vec::with_capacity(count as usize);
        let mut end_of_last = 0;
        let file = Arc::new(pages);
        for entry in table.chunks_exact(16) {
            let (offset, len) = entry.split_at(8);
            let offset = u64::from_le_bytes(offset.try_into().unwrap_or_default());
            let len = u64::from_le_bytes(len.try_into().unwrap_or_default());
            let end = offset.checked_add(len).filter(|end| *end <= memory_len.next_multiple_of(PAGE as u64));
            let aligned = offset.is_multiple_of(PAGE as u64) && len.is_multiple_of(PAGE as u64) && len > 0;
            let Some(end) = end.filter(|_| aligned && offset >= end_of_last) else {
                return Err(DeltaError::Damaged("a run is out of place"));
            };
            end_of_last = end;
            let (offset, bytes) = (offset as usize, len as usize);
            runs.push(Run { offset, len: bytes, file: Arc::clone(&file), file_offset, mapped: false });
            file_offset += len;
        }
        if file_len < file_offset {
            return Err(DeltaError::Damaged("shorter than it says"));
        }
        choose_mapped(&mut runs);
        Ok(Self { memory_len: memory_len as usize, runs })
    }

    /// The memory's length, in bytes.
    pub fn memory_len(&self) -> usize {
        self.memory_len
    }

    /// Bytes of memory in the delta.
    pub fn payload_len(&self) -> usize {
        self.runs.iter().map(|run| run.len).sum()
    }

    /// The bytes that [`Delta::copy_to`] writes.
    pub fn file_len(&self) -> u64 {
        (header_len(self.runs.len()) + self.payload_len()) as u64
    }

    /// Writes the same delta into another file, as [`Delta::write`] would.
    pub fn copy_to(&self, to: &mut File) -> io::Result<u64> {
        let header = header(self.memory_len, self.runs.iter().map(|run| (run.offset, run.end())));
        to.write_all(&header)?;
        let mut buffer = vec![0_u8; COPY_BYTES.min(self.payload_len())];
        let mut filled = 0;
        for run in &self.runs {
            let mut done = 0;
            while done < run.len {
                let part = (run.len - done).min(buffer.len() - filled);
                let into = buffer.get_mut(filled..filled + part).unwrap_or_default();
                // Positioned reads, because others may read the same file at the same time.
                run.file.read_exact_at(into, run.file_offset + done as u64)?;
                (done, filled) = (done + part, filled + part);
                if filled == buffer.len() {
                    to.write_all(&buffer)?;
                    filled = 0;
                }
            }
        }
        to.write_all(buffer.get(..filled).unwrap_or_default())?;
        Ok((header.len() + self.payload_len()) as u64)
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }
}

/// Marks the longest runs as mapped, up to [`MAX_MAPPED`].
fn choose_mapped(runs: &mut [Run]) {
    let mut by_length: Vec<usize> = (0..runs.len()).collect();
    by_length.sort_by_key(|i| std::cmp::Reverse(runs.get(*i).map_or(0, |run| run.len)));
    for i in by_length.into_iter().take(MAX_MAPPED) {
        if let Some(run) = runs.get_mut(i) {
            run.mapped = run.len >= MAP_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut file = tempfile::tempfile().unwrap();
        let memory: Vec<u8> = (0..4 * 65536).map(|i| (i / PAGE) as u8).collect();
        Delta::write(&mut file, &memory, &[(PAGE, 3 * PAGE), (10 * PAGE, 40 * PAGE)]).unwrap();
        read(&mut file)
    }

    fn read(file: &mut File) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn open(bytes: &[u8]) -> Result<Delta, DeltaError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Delta::open(file)
    }

    #[test]
    fn a_delta_says_what_was_written() {
        let delta = open(&sample()).unwrap();
        assert_eq!((delta.memory_len(), delta.payload_len()), (4 * 65536, 32 * PAGE));
        let mapped: Vec<_> = delta.runs.iter().filter(|run| run.mapped).map(|run| (run.offset, run.end())).collect();
        assert_eq!(mapped, [(10 * PAGE, 40 * PAGE)]);
        let mut page = vec![0; 2 * PAGE];
        delta.runs[0].file.read_exact_at(&mut page, delta.runs[0].file_offset).unwrap();
        assert!(page[..PAGE].iter().all(|b| *b == 1) && page[PAGE..].iter().all(|b| *b == 2));
        let mut again = tempfile::tempfile().unwrap();
        assert_eq!(delta.copy_to(&mut again).unwrap(), sample().len() as u64);
        assert_eq!(delta.file_len(), sample().len() as u64);
        assert_eq!(Delta::len_of(&[(PAGE, 3 * PAGE), (10 * PAGE, 40 * PAGE)]), sample().len() as u64);
        assert_eq!(read(&mut again), sample());
    }

    #[test]
    fn what_is_outside_of_ranges_is_left() {
        let file = Arc::new(Pages::from(tempfile::tempfile().unwrap()));
        let run = |offset: usize, len: usize, file_offset: u64| Run {
            offset: offset * PAGE,
            len: len * PAGE,
            file: Arc::clone(&file),
            file_offset: file_offset * PAGE as u64,
            mapped: true,
        };
        let runs = [run(2, 4, 100), run(10, 10, 200)];
        for (ranges, expected) in [
            (vec![], vec![(2, 4, 100), (10, 10, 200)]),
            (vec![(0, 30)], vec![]),
            (vec![(0, 2), (6, 10), (20, 30)], vec![(2, 4, 100), (10, 10, 200)]),
            (vec![(1, 3), (5, 12), (13, 14), (19, 40)], vec![(3, 2, 101), (12, 1, 202), (14, 5, 204)]),
        ] {
            let ranges: Vec<_> = ranges.iter().map(|(a, b)| (a * PAGE, b * PAGE)).collect();
            let left: Vec<_> = outside(&runs, &ranges)
                .iter()
                .map(|r| (r.offset / PAGE, r.len / PAGE, r.file_offset / PAGE as u64))
                .collect();
            assert_eq!(left, expected, "{ranges:?}");
        }
    }

    #[test]
    fn a_damaged_delta_is_refused() {
        let good = sample();
        for len in [0, 7, 23, 24, 40, 55, PAGE, good.len() - 1] {
            assert!(open(&good[..len]).is_err(), "cut at {len}");
        }
        for (at, value) in [(0, 0xff), (12, 0xff), (20, 0xff), (24, 1), (32, 1), (38, 0x7f), (47, 0xff)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(open(&bad).is_err(), "byte {at}");
        }
    }
}
