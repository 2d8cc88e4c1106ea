//! The part of the reader that takes in a sparse file's map, over as many blocks as it has.

use super::header::{BLOCK, sparse_parts};
use super::sparse::{Lines, LinesError, Sparse};
use super::{Bound, Entry, State, Step, Tar, TarError};

/// The most parts of all sparse files of an archive together. 16 bytes each are kept.
const MAX_SPARSE_PARTS: u64 = 1 << 18;

/// A sparse file whose map is being read.
#[derive(Debug)]
pub(super) struct Mapped {
    pub entry: Entry,
    pub whole: u64,
    pub parts: Vec<(u64, u64)>,
    /// The map is in the first blocks of the data.
    pub lines: Option<Lines>,
}

impl Tar {
    /// Reads the rest of a map before the entry is returned.
    pub(super) fn begin_map(&mut self, mapped: Mapped) -> Result<Step, TarError> {
        self.add_parts(mapped.parts.len())?;
        self.mapped = Some(mapped);
        self.state = State::SparseMap;
        Ok(Step::More)
    }

    /// Returns an entry whose map is complete.
    pub(super) fn sparse_file(&mut self, entry: Entry, whole: u64, parts: Vec<(u64, u64)>) -> Result<Step, TarError> {
        self.add_parts(parts.len())?;
        self.sparse_data(entry, whole, parts)
    }

    /// Reads the next block of a sparse file's map.
    pub(super) fn map_block(&mut self, mut mapped: Mapped, block: &[u8; BLOCK]) -> Result<Step, TarError> {
        let complete = match &mut mapped.lines {
            None => {
                let (field, end) = block.split_at(BLOCK - 8);
                let parts = sparse_parts(field).map_err(|what| self.damaged(what))?;
                self.add_parts(parts.len())?;
                mapped.parts.extend(parts);
                end.first() == Some(&0)
            }
            Some(lines) => {
                let left = mapped.entry.size.checked_sub(BLOCK as u64);
                mapped.entry.size = left.ok_or_else(|| self.damaged("a sparse file that ends in its map"))?;
                let most = MAX_SPARSE_PARTS.saturating_sub(self.parts);
                match lines.block(block, most) {
                    Ok(Some(parts)) => {
                        self.add_parts(parts.len())?;
                        mapped.parts = parts;
                        true
                    }
                    Ok(None) => false,
                    Err(LinesError::Damaged(what)) => return Err(self.damaged(what)),
                    Err(LinesError::TooMany) => return Err(self.too_many_parts()),
                }
            }
        };
        if complete {
            return self.sparse_data(mapped.entry, mapped.whole, mapped.parts);
        }
        self.mapped = Some(mapped);
        Ok(Step::More)
    }

    fn sparse_data(&mut self, mut entry: Entry, whole: u64, parts: Vec<(u64, u64)>) -> Result<Step, TarError> {
        entry.sparse = Some(Sparse::new(whole, parts, entry.size).map_err(|what| self.damaged(what))?);
        self.state = State::Data { left: entry.size, size: entry.size };
        Ok(Step::Entry(entry))
    }

    fn add_parts(&mut self, more: usize) -> Result<(), TarError> {
        self.parts = self.parts.saturating_add(more as u64);
        if self.parts > MAX_SPARSE_PARTS { Err(self.too_many_parts()) } else { Ok(()) }
    }

    fn too_many_parts(&self) -> TarError {
        self.too_much("sparse files with too many parts", Bound::Count(MAX_SPARSE_PARTS))
    }
}
