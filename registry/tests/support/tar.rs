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
    /// Stores the data without its zeros.
    pub sparse: Option<Sparse>,
}

/// A sparse file. Without `parts`, every block of 512 zeros is left out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sparse {
    pub form: SparseForm,
    /// The size that the map claims.
    pub whole: Option<u64>,
    /// Offset and length of each part, true or not.
    pub parts: Option<Vec<(u64, u64)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) enum SparseForm {
    #[serde(rename = "gnu")]
    Gnu,
    #[serde(rename = "pax 0.0")]
    Pax00,
    #[serde(rename = "pax 0.1")]
    Pax01,
    #[serde(rename = "pax 1.0")]
    Pax10,
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
    /// A gzip member for every 512 bytes.
    GzipMembers,
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
    if let Some(sparse) = &entry.sparse {
        let zeros = vec![0; entry.zeros.unwrap_or_default() as usize];
        return write_sparse(out, sparse, path, if entry.zeros.is_some() { &zeros } else { data });
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

/// The parts of the data that are not zeros, block by block.
fn parts_of(data: &[u8]) -> Vec<(u64, u64)> {
    let mut parts: Vec<(u64, u64)> = Vec::new();
    for (number, block) in data.chunks(512).enumerate().filter(|(_, block)| block.iter().any(|&byte| byte != 0)) {
        let (at, length) = (number as u64 * 512, block.len() as u64);
        match parts.last_mut() {
            Some(last) if last.0 + last.1 == at => last.1 += length,
            _ => parts.push((at, length)),
        }
    }
    parts
}

fn write_sparse(out: &mut dyn Write, sparse: &Sparse, path: &[u8], data: &[u8]) -> io::Result<()> {
    let whole = sparse.whole.unwrap_or(data.len() as u64);
    let true_parts = parts_of(data);
    let mut stored = Vec::new();
    for &(at, length) in &true_parts {
        stored.extend_from_slice(&data[at as usize..(at + length) as usize]);
    }
    let parts = sparse.parts.as_ref().unwrap_or(&true_parts);
    let record = |key: &str, value: &str| {
        let body = key.len() + value.len() + 3;
        let digits = (1..).find(|digits| (body + digits).to_string().len() == *digits).unwrap();
        format!("{} {key}={value}\n", body + digits)
    };
    let name = String::from_utf8_lossy(path).into_owned();
    let (whole_text, count) = (whole.to_string(), parts.len().to_string());
    let records = match sparse.form {
        SparseForm::Gnu => String::new(),
        SparseForm::Pax00 => {
            let part = |(at, length): &(u64, u64)| {
                record("GNU.sparse.offset", &at.to_string()) + &record("GNU.sparse.numbytes", &length.to_string())
            };
            let all: String = parts.iter().map(part).collect();
            record("GNU.sparse.size", &whole_text) + &record("GNU.sparse.numblocks", &count) + &all
        }
        SparseForm::Pax01 => {
            let map: Vec<String> = parts.iter().map(|(at, length)| format!("{at},{length}")).collect();
            [("name", name.as_str()), ("size", &whole_text), ("numblocks", &count), ("map", &map.join(","))]
                .map(|(key, value)| record(&format!("GNU.sparse.{key}"), value))
                .concat()
        }
        SparseForm::Pax10 => {
            let mut map = format!("{count}\n");
            parts.iter().for_each(|(at, length)| map += &format!("{at}\n{length}\n"));
            let mut before = map.into_bytes();
            before.resize(before.len().next_multiple_of(512), 0);
            stored.splice(0..0, before);
            [("major", "1"), ("minor", "0"), ("name", &name), ("realsize", &whole_text)]
                .map(|(key, value)| record(&format!("GNU.sparse.{key}"), value))
                .concat()
        }
    };
    if !records.is_empty() {
        out.write_all(&header(b"extended", 'x', "", &octal(records.len() as u64), false))?;
        out.write_all(records.as_bytes())?;
        out.write_all(&vec![0; records.len().wrapping_neg() % 512])?;
    }
    let size = octal(stored.len() as u64);
    let gnu = sparse.form == SparseForm::Gnu;
    let named: &[u8] =
        if matches!(sparse.form, SparseForm::Pax01 | SparseForm::Pax10) { b"GNUSparseFile.0/x" } else { path };
    let mut block = header(named, if gnu { 'S' } else { '0' }, "", &size, false);
    if gnu {
        let number = |value: u64| {
            if value < 1 << 33 {
                return octal(value);
            }
            let mut large = vec![0x80, 0, 0, 0];
            large.extend_from_slice(&value.to_be_bytes());
            large
        };
        let entry = |part: &(u64, u64)| [number(part.0), number(part.1)].concat();
        let (first, rest) = parts.split_at(parts.len().min(4));
        block[257..265].copy_from_slice(b"ustar  \0");
        block[386..386 + 24 * first.len()].copy_from_slice(&first.iter().flat_map(entry).collect::<Vec<_>>());
        block[482] = u8::from(!rest.is_empty());
        block[483..495].copy_from_slice(&number(whole));
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.write_all(&block)?;
        for (number, some) in rest.chunks(21).enumerate() {
            let mut more: Vec<u8> = some.iter().flat_map(entry).collect();
            more.resize(512, 0);
            more[504] = u8::from((number + 1) * 21 < rest.len());
            out.write_all(&more)?;
        }
    } else {
        out.write_all(&block)?;
    }
    out.write_all(&stored)?;
    out.write_all(&vec![0; stored.len().wrapping_neg() % 512])
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
