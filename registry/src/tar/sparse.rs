//! Sparse files: which parts of a file an archive stores, in GNU's own format and in the three that it writes with pax.
//! Reads and checks the maps, and never makes the zeros between the parts.

/// A file of which only some parts are stored, one after another. Everything else in it is zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sparse {
    /// Bytes of the whole file.
    size: u64,
    /// Offset and length of each part, in order, without overlaps.
    parts: Vec<(u64, u64)>,
}

/// A stretch of a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    Zeros(u64),
    Stored(u64),
}

impl Sparse {
    /// Checks a map against the bytes that are stored.
    pub(super) fn new(size: u64, parts: Vec<(u64, u64)>, stored: u64) -> Result<Self, &'static str> {
        let (mut end, mut sum) = (0_u64, 0_u64);
        for &(offset, length) in &parts {
            let next = offset.checked_add(length).filter(|&next| next <= size && offset >= end);
            end = next.ok_or("a sparse file whose parts overlap or lead beyond its end")?;
            sum = sum.saturating_add(length);
        }
        if sum != stored || size > i64::MAX as u64 {
            return Err("a sparse file whose parts are not what is stored");
        }
        Ok(Self { size, parts })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The stretches of the file from its start, none of them empty.
    pub(crate) fn into_runs(self) -> Runs {
        Runs { parts: self.parts.into_iter(), at: 0, size: self.size, stored: None }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Runs {
    parts: std::vec::IntoIter<(u64, u64)>,
    at: u64,
    size: u64,
    /// A part whose leading zeros were returned.
    stored: Option<u64>,
}

impl Iterator for Runs {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        if let Some(length) = self.stored.take() {
            self.at = self.at.saturating_add(length);
            return Some(Run::Stored(length));
        }
        if let Some((offset, length)) = self.parts.find(|&(_, length)| length > 0) {
            let zeros = offset.saturating_sub(self.at);
            if zeros > 0 {
                self.at = offset;
                self.stored = Some(length);
                return Some(Run::Zeros(zeros));
            }
            self.at = self.at.saturating_add(length);
            return Some(Run::Stored(length));
        }
        let zeros = self.size.saturating_sub(self.at);
        self.at = self.size;
        (zeros > 0).then_some(Run::Zeros(zeros))
    }
}

/// The records of an extended header that describe a sparse file.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Records {
    pub major: Option<u64>,
    pub minor: Option<u64>,
    pub size: Option<u64>,
    /// Offsets and lengths in turn, of formats 0.0 and 0.1.
    pub numbers: Vec<u64>,
}

/// The place of a sparse file's map.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Map {
    /// In the extended header.
    Here(Vec<(u64, u64)>),
    /// Before the data.
    Before,
}

impl Records {
    /// `None`: not a sparse file, or one of a version that no program knows.
    pub(super) fn map(&self) -> Result<Option<Map>, &'static str> {
        match (self.major, self.minor) {
            (Some(1), Some(0)) => Ok(Some(Map::Before)),
            (Some(0), Some(0 | 1)) => pairs(&self.numbers).map(|parts| Some(Map::Here(parts))),
            (None, None) if !self.numbers.is_empty() => pairs(&self.numbers).map(|parts| Some(Map::Here(parts))),
            _ => Ok(None),
        }
    }
}

fn pairs(numbers: &[u64]) -> Result<Vec<(u64, u64)>, &'static str> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("a sparse file with half a part");
    }
    Ok(pairs.iter().map(|&[offset, length]| (offset, length)).collect())
}

/// Reads the map before the data of format 1.0: the number of parts, then offset and length of each, a line each.
#[derive(Debug, Default)]
pub(super) struct Lines {
    count: Option<u64>,
    numbers: Vec<u64>,
    now: Option<u64>,
}

impl Lines {
    /// Reads the next block. The parts, once they are complete; the rest of their last block is padding.
    pub(super) fn block(&mut self, block: &[u8], most: u64) -> Result<Option<Vec<(u64, u64)>>, LinesError> {
        const BAD: LinesError = LinesError::Damaged("a sparse file with an invalid map");
        for &byte in block {
            match byte {
                b'0'..=b'9' => {
                    let value = self.now.unwrap_or_default().checked_mul(10);
                    self.now = Some(value.and_then(|value| value.checked_add(u64::from(byte - b'0'))).ok_or(BAD)?);
                }
                b'\n' => {
                    let number = self.now.take().ok_or(BAD)?;
                    match self.count {
                        None if number > most => return Err(LinesError::TooMany),
                        None => self.count = Some(number),
                        Some(_) => self.numbers.push(number),
                    }
                    if self.count.is_some_and(|count| count.saturating_mul(2) == self.numbers.len() as u64) {
                        return pairs(&self.numbers).map(Some).map_err(LinesError::Damaged);
                    }
                }
                _ => return Err(BAD),
            }
        }
        Ok(None)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum LinesError {
    Damaged(&'static str),
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_becomes_runs() {
        for (size, parts, runs) in [
            (10, vec![], vec![Run::Zeros(10)]),
            (0, vec![(0, 0)], vec![]),
            (10, vec![(0, 4), (6, 2)], vec![Run::Stored(4), Run::Zeros(2), Run::Stored(2), Run::Zeros(2)]),
            (10, vec![(3, 0), (4, 3), (7, 3)], vec![Run::Zeros(4), Run::Stored(3), Run::Stored(3)]),
            (4, vec![(0, 4), (4, 0)], vec![Run::Stored(4)]),
        ] {
            let stored = parts.iter().map(|part| part.1).sum();
            let sparse = Sparse::new(size, parts, stored).unwrap();
            assert_eq!(sparse.into_runs().collect::<Vec<_>>(), runs);
        }
        for (size, parts, stored) in [
            (10, vec![(0, 4), (3, 2)], 6),
            (10, vec![(8, 4)], 4),
            (10, vec![(u64::MAX, 2)], 2),
            (10, vec![(0, 4)], 5),
            (10, vec![(0, 4)], 3),
            (u64::MAX, vec![], 0),
        ] {
            assert!(Sparse::new(size, parts.clone(), stored).is_err(), "{parts:?}");
        }
    }

    #[test]
    fn lines_are_read_over_blocks() {
        let mut lines = Lines::default();
        assert_eq!(lines.block(b"2\n0\n5", 9), Ok(None));
        assert_eq!(lines.block(b"12\n1024\n7\n\0\0garbage", 9), Ok(Some(vec![(0, 512), (1024, 7)])));
        assert_eq!(Lines::default().block(b"0\n\0", 9), Ok(Some(Vec::new())));
        assert_eq!(Lines::default().block(b"10\n", 9), Err(LinesError::TooMany));
        for bad in [&b"\n"[..], b"x", b"-1\n", b"99999999999999999999\n", b"1\n\n", b"\0"] {
            assert!(matches!(Lines::default().block(bad, 9), Err(LinesError::Damaged(_))), "{bad:?}");
        }
    }
}
