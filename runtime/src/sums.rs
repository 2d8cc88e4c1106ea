//! Checksums of stored files (CRC-32), checked before a file is used. They find what a disk or a crash has damaged. They
//! never protect from anyone who can write into the folder.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crc32fast::Hasher;

use crate::files;
use crate::share;

/// Bytes read at once: they fit into a core's cache, and onto the stack, where no allocator maps them anew each time.
const CHUNK: usize = 64 << 10;
/// Files of at least this many bytes are worth a helper while something else is done.
const BESIDE_BYTES: u64 = 2 << 20;
/// The words before a sealed text's checksum. JSON cannot contain them at its end.
const SEAL: &[u8] = b"\ncrc32 ";
/// The digits of a checksum.
const DIGITS: usize = 8;

fn damaged(words: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words)
}

/// The checksum of a whole file. Does not move its position.
pub(crate) fn of_file(file: &File) -> io::Result<u32> {
    let (mut hasher, mut buffer, mut offset) = (Hasher::new(), [0; CHUNK], 0);
    loop {
        match file.read_at(&mut buffer, offset) {
            Ok(0) => return Ok(hasher.finalize()),
            Ok(read) => {
                hasher.update(buffer.get(..read).unwrap_or_default());
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Compares a whole file with the checksum that was written with it.
///
/// # Errors
/// `InvalidData` if the file has changed since.
pub(crate) fn check_file(file: &File, sum: u32) -> io::Result<()> {
    if of_file(file)? == sum { Ok(()) } else { Err(damaged("the checksum is another")) }
}

/// A file that was not yet compared with its checksum. Nothing may be made of it before.
#[derive(Debug)]
pub(crate) struct Unchecked {
    file: File,
    len: u64,
    /// Absent for files of versions that wrote none.
    sum: Option<u32>,
}

impl Unchecked {
    pub(crate) fn new(file: &File, sum: Option<u32>) -> io::Result<Self> {
        Ok(Self { file: file.try_clone()?, len: files::len(file)?, sum })
    }

    /// # Errors
    /// As for [`check_file`].
    pub(crate) fn check(&self) -> io::Result<()> {
        self.sum.map_or(Ok(()), |sum| check_file(&self.file, sum))
    }

    /// The same, while `work` runs on this thread, if a helper is free. The result of the work is worth nothing if the check fails.
    pub(crate) fn check_beside<R>(&self, work: impl FnOnce() -> R) -> (io::Result<()>, R) {
        if self.sum.is_none() || self.len < BESIDE_BYTES {
            return (self.check(), work());
        }
        share::both(|| self.check(), work)
    }
}

/// The text with its checksum after it.
pub(crate) fn seal(mut text: Vec<u8>) -> Vec<u8> {
    let sum = crc32fast::hash(&text);
    text.extend_from_slice(SEAL);
    text.extend_from_slice(format!("{sum:08x}").as_bytes());
    text
}

/// The text without its checksum.
///
/// # Errors
/// `InvalidData` if there is no checksum, or not that of the text.
pub(crate) fn unseal(bytes: &[u8]) -> io::Result<&[u8]> {
    let missing = || damaged("the checksum is missing");
    let (rest, digits) = bytes.split_at_checked(bytes.len().saturating_sub(DIGITS)).ok_or_else(missing)?;
    let text = rest.strip_suffix(SEAL).ok_or_else(missing)?;
    let expected = format!("{:08x}", crc32fast::hash(text));
    if digits == expected.as_bytes() { Ok(text) } else { Err(damaged("the checksum is another")) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn every_flipped_bit_of_a_sealed_text_is_found() {
        let sealed = seal(br#"{"generation": 7}"#.to_vec());
        assert_eq!(unseal(&sealed).unwrap(), br#"{"generation": 7}"#);
        for bit in 0..sealed.len() * 8 {
            let mut bent = sealed.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(&bent).is_err(), "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert!(unseal(&sealed[..len]).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_file_is_found() {
        let bytes: Vec<u8> = (0..3 * CHUNK + 17).map(|i| (i % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let sum = of_file(&file).unwrap();
        assert_eq!(sum, crc32fast::hash(&bytes));
        check_file(&file, sum).unwrap();
        for at in [0, CHUNK - 1, CHUNK, bytes.len() - 1] {
            file.write_all_at(&[bytes[at] ^ 4], at as u64).unwrap();
            assert_eq!(check_file(&file, sum).unwrap_err().kind(), io::ErrorKind::InvalidData);
            file.write_all_at(&[bytes[at]], at as u64).unwrap();
        }
        file.set_len(bytes.len() as u64 - 1).unwrap();
        assert!(check_file(&file, sum).is_err());
    }

    #[test]
    fn a_check_beside_other_work_finds_the_same() {
        for len in [17, BESIDE_BYTES as usize + 17] {
            let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let sum = crc32fast::hash(&bytes);
            let beside = |sum| Unchecked::new(&file, sum).unwrap().check_beside(|| 7);
            assert!(matches!(beside(Some(sum)), (Ok(()), 7)), "{len}");
            assert!(matches!(beside(Some(sum ^ 1)), (Err(_), 7)), "{len}");
            assert!(matches!(beside(None), (Ok(()), 7)), "{len}");
        }
    }
}
