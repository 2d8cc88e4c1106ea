//! The ways in which a registry takes layers, as far as it has shown them: the size of its chunks, whether it takes
//! chunks at all, and how far its `Range` headers can be trusted. Pure; shared by all uploads of a client.

use parking_lot::Mutex;

/// Bytes of a chunk. Amazon's ECR accepts less than 5 MiB only for the last one.
pub(crate) const CHUNK: usize = 8 << 20;
/// The largest minimum chunk that a registry may ask for. A chunk is held in memory.
const MAX_CHUNK: usize = 16 << 20;
/// Chunks are never made smaller than this, however often they are refused as too large.
const MIN_CHUNK: usize = 512 << 10;
/// The largest chunk that GitHub's registry takes. A smaller one that is called out of range has another reason.
const MAX_RANGE: usize = 4 << 20;

/// The relation of `Range` headers to the bytes that a registry has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ranges {
    /// None was seen yet.
    Unknown,
    Exact,
    /// The last byte's number is written as the number of bytes.
    OneTooMany,
    /// They do not follow what was sent, such as ECR's, which stay at the first chunk.
    Useless,
}

impl Ranges {
    /// The number of bytes that the registry means.
    pub(super) fn corrected(self, has: u64) -> u64 {
        if self == Self::OneTooMany { has.saturating_sub(1) } else { has }
    }

    /// True if a range that contradicts an acknowledged chunk means that bytes were lost.
    pub(super) fn are_believed(self) -> bool {
        matches!(self, Self::Exact | Self::OneTooMany)
    }
}

#[derive(Debug)]
pub(super) struct Ways(Mutex<Learned>);

#[derive(Debug)]
struct Learned {
    /// The largest chunk to send.
    largest: usize,
    /// The largest chunk that was taken.
    taken: usize,
    /// Layers go in one request.
    whole: bool,
    /// Two chunks of one upload were taken.
    chunks: bool,
    /// A small blob goes along with the request that ends its upload.
    one_put: bool,
    ranges: Ranges,
}

impl Ways {
    pub(super) fn new(host: &str) -> Self {
        let (largest, taken, whole) = (CHUNK, 0, wants_whole(host));
        Self(Mutex::new(Learned { largest, taken, whole, chunks: false, one_put: true, ranges: Ranges::Unknown }))
    }

    /// Bytes to send in one chunk. `None` if a layer goes in one request. `least` is the registry's minimum.
    pub(super) fn chunk(&self, least: u64) -> Option<usize> {
        let learned = self.0.lock();
        let least = usize::try_from(least).ok().filter(|least| *least <= MAX_CHUNK)?;
        // A registry that states a minimum knows its limits; one that was refused larger chunks has none that fits.
        let fits = learned.largest == CHUNK || least <= learned.largest;
        (!learned.whole && fits).then_some(learned.largest.max(least))
    }

    /// The largest piece that is known to pass in one request.
    pub(super) fn largest(&self) -> usize {
        self.0.lock().largest
    }

    pub(super) fn only_whole(&self) {
        self.0.lock().whole = true;
    }

    /// True if the registry has taken two chunks of one upload.
    pub(super) fn takes_chunks(&self) -> bool {
        self.0.lock().chunks
    }

    /// True if a chunk of this size has been taken before, so that its size is no reason for a refusal.
    pub(super) fn took(&self, bytes: usize) -> bool {
        bytes <= self.0.lock().taken
    }

    pub(super) fn one_put(&self) -> bool {
        self.0.lock().one_put
    }

    pub(super) fn no_one_put(&self) {
        self.0.lock().one_put = false;
    }

    pub(super) fn ranges(&self) -> Ranges {
        self.0.lock().ranges
    }

    /// A chunk was taken, and the upload has `size` bytes now. `says`: the size by the answer's `Range`.
    pub(super) fn accepted(&self, chunk: usize, size: u64, says: Option<u64>) {
        let mut learned = self.0.lock();
        learned.taken = learned.taken.max(chunk);
        learned.chunks |= size > chunk as u64;
        let Some(says) = says else { return };
        let seen = match says.checked_sub(size) {
            Some(0) => Ranges::Exact,
            Some(1) => Ranges::OneTooMany,
            _ => Ranges::Useless,
        };
        learned.ranges =
            if matches!(learned.ranges, Ranges::Unknown) || learned.ranges == seen { seen } else { Ranges::Useless };
    }

    /// A chunk was refused for its size: by a proxy in front (413), or as out of range. False if a smaller one would not
    /// help.
    pub(super) fn shrink(&self, refused: usize, by_proxy: bool) -> bool {
        let mut learned = self.0.lock();
        let smallest = if by_proxy { MIN_CHUNK } else { MAX_RANGE };
        if refused <= smallest {
            return false;
        }
        learned.largest = learned.largest.min((refused / 2).max(smallest));
        true
    }
}

/// The bytes that a `Range` header means. `0-N` is inclusive; registries write an empty upload as `0-0`.
pub(super) fn bytes_of(range: &str) -> Option<u64> {
    let (from, to) = range.trim().trim_start_matches("bytes=").split_once('-')?;
    let to: u64 = to.trim().parse().ok()?;
    (from.trim() == "0").then_some(if to == 0 { 0 } else { to.saturating_add(1) })
}

/// True for registries that document that they take no chunks, or only small ones: Google's Artifact Registry
/// (<https://cloud.google.com/artifact-registry/docs/reference/docker-api>), and GitHub's. Others show it.
fn wants_whole(host: &str) -> bool {
    let host = host.split(':').next().unwrap_or_default();
    ["ghcr.io", "gcr.io"].contains(&host) || [".gcr.io", ".pkg.dev"].iter().any(|end| host.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn chunks_become_as_small_as_the_registry_wants() {
        let ways = Ways::new("registry.example:5000");
        assert_eq!((ways.chunk(0), ways.chunk(10 << 20), ways.chunk(1 << 40)), (Some(CHUNK), Some(10 * MIB), None));
        assert!(ways.shrink(CHUNK, false));
        assert_eq!((ways.chunk(0), ways.chunk(1 << 20)), (Some(4 * MIB), Some(4 * MIB)));
        assert_eq!(ways.chunk(5 << 20), None, "less than the minimum");
        assert!(!ways.shrink(4 * MIB, false));
        assert!(ways.shrink(4 * MIB, true) && ways.shrink(2 * MIB, true) && ways.shrink(MIB, true));
        assert!(!ways.shrink(512 << 10, true));
        assert_eq!(ways.chunk(0), Some(512 << 10));
        ways.only_whole();
        assert_eq!(ways.chunk(0), None);
    }

    #[test]
    fn ranges_are_believed_as_long_as_they_follow() {
        for (says, ranges, eighteen) in [
            ([Some(8), Some(16)], Ranges::Exact, 18),
            ([Some(9), Some(17)], Ranges::OneTooMany, 17),
            ([Some(8), Some(8)], Ranges::Useless, 18),
            ([Some(8), Some(17)], Ranges::Useless, 18),
            ([None, Some(16)], Ranges::Exact, 18),
            ([None, None], Ranges::Unknown, 18),
        ] {
            let ways = Ways::new("r");
            ways.accepted(8, 8, says[0]);
            assert!(!ways.takes_chunks());
            ways.accepted(8, 16, says[1]);
            assert_eq!((ways.ranges(), ways.takes_chunks()), (ranges, true), "{says:?}");
            assert_eq!(ways.ranges().corrected(18), eighteen);
            assert!(ways.took(8) && !ways.took(9));
        }
    }

    #[test]
    fn ranges_count_from_the_start() {
        for (text, bytes) in [("0-9", Some(10)), ("bytes=0-9", Some(10)), ("0-0", Some(0)), ("5-9", None), ("0", None)]
        {
            assert_eq!(bytes_of(text), bytes, "{text}");
        }
        assert_eq!(bytes_of("0-18446744073709551615"), Some(u64::MAX));
        assert_eq!((bytes_of("0--1"), bytes_of("0-x"), bytes_of("")), (None, None, None));
    }

    #[test]
    fn documented_registries_get_layers_whole_at_once() {
        for host in ["ghcr.io", "gcr.io", "eu.gcr.io", "europe-docker.pkg.dev", "ghcr.io:443"] {
            assert_eq!(Ways::new(host).chunk(0), None, "{host}");
        }
        for host in ["ghcr.io.example", "notghcr.io", "r.example", "pkg.dev.example"] {
            assert!(Ways::new(host).chunk(0).is_some(), "{host}");
        }
    }
}
