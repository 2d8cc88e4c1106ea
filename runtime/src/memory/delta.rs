//! A delta: the pages in which a memory differs from its image, as a file. Suspended sessions, forks and snapshots.
//!
//! Layout, little-endian: magic, version, memory length, number of runs, then for each run its offset and length; after
//! that, at the next page boundary, the runs' bytes one after another. The image it belongs to is named beside it, by
//! `session::state`, not in it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use super::slot::PAGE;

const MAGIC: u64 = u64::from_le_bytes(*b"cfdmdlt1");
/// Runs of at least this many bytes are mapped from the file; shorter ones are copied.
const MAP_BYTES: usize = 64 << 10;
/// Each mapping costs the process one of its (by default 65,530) memory areas.
const MAX_MAPPED: usize = 24;
const MAX_RUNS: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    #[error("the suspended state is damaged: {0}")]
    Damaged(&'static str),
    #[error("the suspended state cannot be read or written: {0}")]
    Io(#[from] io::Error),
}

/// A run of pages of a delta.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Where in the memory, in bytes.
    pub(super) offset: usize,
    pub(super) len: usize,
    pub(super) file_offset: u64,
    /// Whether a slot maps it instead of copying it.
    pub(super) mapped: bool,
}

#[derive(Debug)]
pub struct Delta {
    file: File,
    memory_len: usize,
    runs: Vec<Run>,
}

impl Delta {
    /// Writes the given runs of `memory` to `file`, from its start.
    pub fn write(file: &mut File, memory: &[u8], runs: &[(usize, usize)]) -> io::Result<u64> {
        let mut header = Vec::with_capacity(24 + runs.len() * 16);
        for word in [MAGIC, memory.len() as u64, runs.len() as u64] {
            header.extend_from_slice(&word.to_le_bytes());
        }
        for (from, to) in runs {
            header.extend_from_slice(&(*from as u64).to_le_bytes());
            header.extend_from_slice(&((to - from) as u64).to_le_bytes());
        }
        header.resize(header.len().next_multiple_of(PAGE), 0);
        file.write_all(&header)?;
        let mut written = header.len() as u64;
        for (from, to) in runs {
            let bytes = memory.get(*from..*to).ok_or_else(|| io::Error::other("a run lies outside the memory"))?;
            file.write_all(bytes)?;
            written += bytes.len() as u64;
        }
        Ok(written)
    }

    /// Reads a delta's header and checks everything that [`super::Slot::apply`] relies on.
    pub fn open(mut file: File) -> Result<Self, DeltaError> {
        file.seek(SeekFrom::Start(0))?;
        let file_len = file.metadata()?.len();
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
            runs.push(Run { offset: offset as usize, len: len as usize, file_offset, mapped: false });
            file_offset += len;
        }
        if file_len < file_offset {
            return Err(DeltaError::Damaged("shorter than it says"));
        }
        choose_mapped(&mut runs);
        Ok(Self { file, memory_len: memory_len as usize, runs })
    }

    /// The memory's length, in bytes.
    pub fn memory_len(&self) -> usize {
        self.memory_len
    }

    /// Bytes of memory that the delta holds.
    pub fn payload_len(&self) -> usize {
        self.runs.iter().map(|run| run.len).sum()
    }

    /// Writes the same delta into another file.
    pub fn copy_to(&self, to: &mut File) -> io::Result<u64> {
        let mut buffer = vec![0_u8; 1 << 20];
        let mut at = 0;
        loop {
            // With offsets of its own: others may read the same file at the same time.
            let read = self.file.read_at(&mut buffer, at)?;
            if read == 0 {
                return Ok(at);
            }
            to.write_all(buffer.get(..read).unwrap_or_default())?;
            at += read as u64;
        }
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    pub(super) fn mapped_runs(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.runs.iter().filter(|run| run.mapped).map(|run| (run.offset, run.offset + run.len))
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn read(&self, run: &Run, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, run.file_offset)
    }
}

/// The longest runs are mapped, as many as [`MAX_MAPPED`].
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
        assert_eq!(delta.mapped_runs().collect::<Vec<_>>(), [(10 * PAGE, 40 * PAGE)]);
        let mut page = vec![0; 2 * PAGE];
        delta.read(&delta.runs()[0], &mut page).unwrap();
        assert!(page[..PAGE].iter().all(|b| *b == 1) && page[PAGE..].iter().all(|b| *b == 2));
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
