//! The zeros of sparse files. Bounds what sparse files and compression make of an archive together, as compression alone
//! is bounded. Holds no zeros but one shared piece.

use bytes::Bytes;

use super::ArchiveError;
use crate::limits::ArchiveLimits;
use crate::shown::size;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

pub(super) struct Holes {
    limits: ArchiveLimits,
    /// Zeros that were made so far.
    made: u64,
}

impl Holes {
    pub(super) fn new(limits: &ArchiveLimits) -> Self {
        Self { limits: *limits, made: 0 }
    }

    /// Counts zeros before they are made. `unpacked`: bytes of the archive so far, `read`: as it was sent.
    pub(super) fn count(&mut self, zeros: u64, unpacked: u64, read: u64) -> Result<(), ArchiveError> {
        let ArchiveLimits { archive_bytes, ratio, ratio_after, .. } = self.limits;
        self.made = self.made.saturating_add(zeros);
        let whole = self.made.saturating_add(unpacked);
        let too_much = |what: String, limit| {
            let advice = "; pack the archive without sparse files (tar without -S), and send that";
            Err(ArchiveError::TooMuch { what, limit, advice })
        };
        if whole > archive_bytes {
            return too_much("the archive, with its sparse files whole,".to_owned(), size(archive_bytes));
        }
        let times = whole / read.max(1);
        if whole > ratio_after && times > ratio {
            return too_much(
                format!("the archive, whose sparse files unpack to {times} times its size,"),
                format!("{ratio} times"),
            );
        }
        Ok(())
    }
}

/// Up to `most` zeros, and their number.
pub(super) fn zeros(most: u64) -> (Bytes, u64) {
    let count = usize::try_from(most).unwrap_or(ZEROS.len()).min(ZEROS.len());
    (Bytes::from_static(ZEROS.get(..count).unwrap_or_default()), count as u64)
}
