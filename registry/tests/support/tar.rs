//! Writes tar like a hostile program: any header, in any order, with any lie.

use std::io::{self, Write};

use serde::Deserialize;

use super::generate::Bytes;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub path: Bytes,
    #[serde(default)]
    pub kind: Kind,
    #[serde(default)]
    pub link: String,
    pub data: Option<Bytes>,
    /// This many zero bytes instead of `data`.
    pub zeros: Option<u64>,
    /// The data is an archive of these entries.
    pub layer: Option<Vec<Entry>>,
    /// Its path may contain digests: `${NAME}` is the path of an earlier blob, or its own if it is one.
    #[serde(default)]
    pub blob: bool,
    #[serde(rename = "as")]
    pub name: Option<String>,
    pub compress: Option<Compress>,
    /// Repeats the entry. `{}` in the path is its number.
    pub count: Option<u64>,
    /// The size field in the header, whatever the real size: 12 bytes.
    pub size: Option<Bytes>,
    pub flag: Option<char>,
    /// The body of an extended header before the entry.
    pub pax: Option<Bytes>,
    pub global: Option<Bytes>,
    pub long_name: Option<Bytes>,
    #[serde(default)]
    pub bad_checksum: bool,
    /// Comes before everything else.
    #[serde(default)]
    pub first: bool,
    /// Omits the padding of the last block.
    #[serde(default)]
    pub no_padding: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    #[default]
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Folder,
    Fifo,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Compress {
    None,
    Gzip,
    Zstd,
    /// zstd with a window of 256 MiB.
    ZstdWide,
}

impl Kind {
    fn flag(self) -> char {
        match self {
            Self::File => '0',
            Self::HardLink => '1',
            Self::Symlink => '2',
            Self::CharDevice => '3',
            Self::BlockDevice => '4',
            Self::Folder => '5',
            Self::Fifo => '6',
        }
    }
}

/// Writes an entry with known data.
pub(crate) fn write_entry(out: &mut dyn Write, entry: &Entry, path: &[u8], link: &str, data: &[u8]) -> io::Result<()> {
    let made = |bytes: &Bytes| bytes.bytes().map_err(io::Error::other);
    for (flag, body) in [('g', &entry.global), ('x', &entry.pax), ('L', &entry.long_name)] {
        let Some(body) = body else { continue };
        let body = made(body)?;
        out.write_all(&header(b"extended", flag, "", &octal(body.len() as u64), false))?;
        out.write_all(&body)?;
        out.write_all(&vec![0; body.len().wrapping_neg() % 512])?;
    }
    let length = entry.zeros.unwrap_or(data.len() as u64);
    let size = entry.size.as_ref().map(made).transpose()?.unwrap_or_else(|| octal(length));
    let flag = entry.flag.unwrap_or(entry.kind.flag());
    out.write_all(&header(path, flag, link, &size, entry.bad_checksum))?;
    match entry.zeros {
        Some(count) => io::copy(&mut io::Read::take(io::repeat(0), count), &mut Out(out)).map(drop)?,
        None => out.write_all(data)?,
    }
    let padding = if entry.no_padding { 0 } else { length.wrapping_neg() % 512 };
    out.write_all(&vec![0; padding as usize])
}

struct Out<'a>(&'a mut dyn Write);

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn octal(value: u64) -> Vec<u8> {
    format!("{value:011o}\0").into_bytes()
}

fn header(path: &[u8], flag: char, link: &str, size: &[u8], bad_checksum: bool) -> [u8; 512] {
    let mut block = [0; 512];
    let mut put = |at: usize, most: usize, bytes: &[u8]| {
        let count = bytes.len().min(most);
        block[at..at + count].copy_from_slice(&bytes[..count]);
    };
    put(0, 100, path);
    put(100, 8, b"0000644\0");
    put(108, 8, b"0000000\0");
    put(116, 8, b"0000000\0");
    put(124, 12, size);
    put(136, 12, b"00000000000\0");
    put(148, 8, b"        ");
    put(156, 1, &[flag as u8]);
    put(157, 100, link.as_bytes());
    put(257, 8, b"ustar\x0000");
    if path.len() > 100 {
        put(345, 155, &path[100..]);
    }
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum::<u32>() + u32::from(bad_checksum);
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
