//! Writes many pieces of memory to a file, or reads them from one, with few system calls.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};

/// The most pieces per call: Linux's `UIO_MAXIOV`.
const MAX_PIECES: usize = 1_024;

/// Writes all pieces one after another at the file's position, and returns their total length.
pub(super) fn write_all(file: &mut File, pieces: &[&[u8]]) -> io::Result<u64> {
    let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut left = &mut slices[..];
    while !left.is_empty() {
        let most = left.len().min(MAX_PIECES);
        match file.write_vectored(left.get(..most).unwrap_or_default()) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(pieces.iter().map(|piece| piece.len() as u64).sum())
}

/// Fills all pieces from `offset` on. Does not move the file's position, because others may use it.
pub(super) fn read_exact_at(file: &File, pieces: &mut [IoSliceMut<'_>], mut offset: u64) -> io::Result<()> {
    let mut left = pieces;
    while !left.is_empty() {
        let most = left.len().min(MAX_PIECES);
        match rustix::io::preadv(file, left.get_mut(..most).unwrap_or_default(), offset) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            Ok(read) => {
                IoSliceMut::advance_slices(&mut left, read);
                offset += read as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_pieces_than_one_call_takes_come_back() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..3_000 * 7).map(|i| (i % 251) as u8).collect();
        let pieces: Vec<&[u8]> = bytes.chunks(7).collect();
        assert_eq!(write_all(&mut file, &pieces).unwrap(), bytes.len() as u64);
        let mut back = vec![0; bytes.len() - 14];
        let mut into: Vec<IoSliceMut<'_>> = back.chunks_mut(5).map(IoSliceMut::new).collect();
        read_exact_at(&file, &mut into, 14).unwrap();
        assert_eq!(back, bytes[14..]);
        let error = read_exact_at(&file, &mut [IoSliceMut::new(&mut [0; 8])], bytes.len() as u64 - 7).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
