//! Copies a memory's modified pages: finds them, writes them as a delta, and applies deltas to other slots.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::sync::Arc;

use super::{PAGE, Slot};
use crate::files;
use crate::memory::delta::{Delta, Pages, Run, outside};
use crate::memory::{sys, vectored};

/// Runs of at least this many bytes are mapped back over the memory that they were noted from. Shorter ones are the
/// guest's working set, and its next turn would make them private again.
const SETTLE_BYTES: usize = 512 << 10;
/// The most pieces of a delta, because each uses two of the process's memory areas (65,530 by default).
const MAX_PIECES: usize = 24;
/// Whole files of earlier deltas are kept for the parts still used. This many bytes, plus twice the used ones, are
/// tolerated.
const HELD_BYTES: u64 = 4 << 20;

/// The changes of a memory since its last note.
pub struct Changes {
    changed: Vec<(usize, usize)>,
    /// Parts of earlier notes that are as they were.
    kept: Vec<Run>,
}

impl Changes {
    /// The bytes that a note of them writes.
    pub fn bytes(&self) -> u64 {
        self.changed.iter().map(|(from, to)| (to - from) as u64).sum()
    }
}

impl Slot {
    /// The pages that differ from the image. Requires the memory at rest, like [`Slot::with_bytes`].
    pub fn changed_pages<T>(&self, at_rest: &mut T) -> io::Result<Vec<(usize, usize)>> {
        let mut runs = self.private_below(self.size())?;
        runs.extend(self.overlay().iter().map(|run| (run.offset, run.end())));
        Ok(self.refined(at_rest, runs))
    }

    fn refined<T>(&self, at_rest: &mut T, runs: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
        let image = self.image.clone();
        self.with_bytes(at_rest, |now| refine(runs, now, image.as_ref().map_or(&[][..], |i| i.bytes())))
    }

    /// Finds the changes since the last note, for [`Slot::note`]. The memory must stay at rest until then.
    pub fn changes<T>(&self, at_rest: &mut T) -> io::Result<Changes> {
        let private = self.private_below(self.size())?;
        let mut kept = outside(&self.overlay(), &private);
        let mut changed = private;
        if is_wasteful(&self.overlay(), &kept)? {
            changed.extend(kept.drain(..).map(|run| (run.offset, run.end())));
        }
        Ok(Changes { changed: self.refined(at_rest, changed), kept })
    }

    /// Notes the current memory for this process. Changes since the last note go into the empty file; the rest stays
    /// where it is.
    pub fn note<T>(&self, at_rest: &mut T, changes: Changes, file: impl Into<Pages>) -> io::Result<Delta> {
        let Changes { changed, kept } = changes;
        self.with_bytes(at_rest, |memory| Delta::note(file.into(), memory, &changed, kept))
    }

    /// Maps the long runs of the note just made over the memory, which holds the same bytes. From then on they are
    /// shared with copies, and the next note finds them unchanged.
    ///
    /// # Errors
    /// The memory may be lost, but the note has its contents.
    pub fn settle<T>(&self, _at_rest: &mut T, note: &Delta) -> io::Result<()> {
        let mut overlay = self.overlay();
        for run in note.runs().iter().filter(|run| run.len >= SETTLE_BYTES) {
            if overlay.iter().any(|piece| piece.covers(run)) {
                continue;
            }
            let mut pieces = outside(&overlay, &[(run.offset, run.end())]);
            if pieces.len() >= MAX_PIECES {
                return Ok(());
            }
            pieces.push(run.clone());
            pieces.sort_unstable_by_key(|piece| piece.offset);
            // SAFETY: the run was written from `[offset, end)` of this memory, so it lies inside, page-aligned. The
            // store, the only user of the memory, is borrowed exclusively, and the bytes stay the same.
            unsafe { sys::map_file(self.base().add(run.offset), run.len, &run.file, run.file_offset)? };
            *overlay = pieces;
        }
        Ok(())
    }

    /// Applies a delta to the image of a clean slot.
    pub fn apply(&mut self, delta: &Delta) -> io::Result<()> {
        self.grow_to(delta.memory_len())?;
        let size = self.size().next_multiple_of(PAGE);
        if delta.runs().iter().any(|run| run.offset.checked_add(run.len).is_none_or(|end| end > size)) {
            return Err(io::Error::other("a delta lies outside the memory"));
        }
        let mut overlay = Vec::new();
        for run in delta.runs().iter().filter(|run| run.mapped) {
            // SAFETY: `offset + len` was checked against the accessible size, `&mut self` means that nothing uses the
            // slot, and delta runs are page-aligned.
            unsafe { sys::map_file(self.base().add(run.offset), run.len, &run.file, run.file_offset)? };
            overlay.push(run.clone());
        }
        *self.overlay() = overlay;
        self.copy_short(delta)
    }

    /// Copies the runs that are not mapped. Adjacent ones in a file take one call.
    fn copy_short(&mut self, delta: &Delta) -> io::Result<()> {
        let short: Vec<&Run> = delta.runs().iter().filter(|run| !run.mapped).collect();
        let follows =
            |a: &&Run, b: &&Run| Arc::ptr_eq(&a.file, &b.file) && b.file_offset == a.file_offset + a.len as u64;
        for group in short.chunk_by(follows) {
            let Some(first) = group.first() else { continue };
            let mut into: Vec<IoSliceMut<'_>> = group
                .iter()
                .map(|run| {
                    // SAFETY: `apply` checked that it is accessible and writable, and runs of a delta do not overlap.
                    let bytes = unsafe { std::slice::from_raw_parts_mut(self.base().add(run.offset), run.len) };
                    IoSliceMut::new(bytes)
                })
                .collect();
            vectored::read_exact_at(&first.file, &mut into, first.file_offset)?;
        }
        Ok(())
    }
}

/// True if the mapped files are much longer than the parts still used.
fn is_wasteful(overlay: &[Run], kept: &[Run]) -> io::Result<bool> {
    let files: BTreeMap<_, _> = overlay.iter().map(|run| (Arc::as_ptr(&run.file), &run.file)).collect();
    let mut held = 0;
    for file in files.values() {
        held += files::len(file)?;
    }
    Ok(held > HELD_BYTES + 2 * kept.iter().map(|run| run.len as u64).sum::<u64>())
}

/// Sorts and merges runs, and drops pages that equal the image or, beyond it, are zero.
fn refine(mut runs: Vec<(usize, usize)>, now: &[u8], image: &[u8]) -> Vec<(usize, usize)> {
    runs.sort_unstable();
    let zero = [0_u8; PAGE];
    let mut changed: Vec<(usize, usize)> = Vec::new();
    let mut done = 0;
    for (from, to) in runs {
        for at in (from.max(done)..to.min(now.len())).step_by(PAGE) {
            let end = (at + PAGE).min(now.len());
            let original = image.get(at..end).unwrap_or(&zero);
            if now.get(at..end).is_some_and(|page| page == original) {
                continue;
            }
            match changed.last_mut() {
                Some(last) if last.1 == at => last.1 = at + PAGE,
                _ => changed.push((at, at + PAGE)),
            }
        }
        done = done.max(to);
    }
    changed
}
