//! Checksums of stored files (CRC-32), checked before a file is used. They find what a disk or a crash has damaged. They
//! never protect from anyone who can write into the folder.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crc32fast::Hasher;

/// Bytes read at once: they fit into a core's cache.
const CHUNK: usize = 256 << 10;
/// The words before a sealed text's checksum. JSON cannot contain them at its end.
const SEAL: &[u8] = b"\ncrc32 ";
/// The digits of a checksum.
const DIGITS: usize = 8;

fn damaged(words: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words)
}

/// The checksum of a whole file. Does not move its position.
pub(crate) fn of_file(file: &File) -> io::Result<u32> {
    let (mut hasher, mut buffer, mut offset) = (Hasher::new(), vec![0; CHUNK], 0);
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
}
