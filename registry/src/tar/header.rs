//! Parses one header block, and never looks beyond it.

pub(super) const BLOCK: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Device,
    Directory,
    Fifo,
    Pax,
    PaxGlobal,
    LongName,
    LongLink,
    /// Has data, and programs either treat it as a file or skip it.
    Other,
}

impl Kind {
    pub(crate) fn has_data(self) -> bool {
        !matches!(self, Self::HardLink | Self::Symlink | Self::Device | Self::Directory | Self::Fifo)
    }
}

#[derive(Debug)]
pub(super) struct Header {
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    pub kind: Kind,
    pub size: u64,
    /// The beginning of a sparse file's map, in GNU's own format.
    pub sparse: Option<GnuSparse>,
}

#[derive(Debug)]
pub(super) struct GnuSparse {
    /// Bytes of the whole file.
    pub size: u64,
    pub parts: Vec<(u64, u64)>,
    /// The map continues in the next block.
    pub more: bool,
}

impl Header {
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, &'static str> {
        let field = |from: usize, length: usize| block.get(from..from.saturating_add(length)).unwrap_or_default();
        let expected = number(field(148, 8))?;
        // The checksum field counts as spaces. Some old programs summed signed bytes.
        let outside = |at: usize| !(148..156).contains(&at);
        let sum = |value: fn(u8) -> i64| -> i64 {
            block.iter().enumerate().map(|(at, &byte)| if outside(at) { value(byte) } else { 32 }).sum()
        };
        let unsigned = block.iter().map(|&byte| u64::from(byte)).sum::<u64>();
        let own = field(148, 8).iter().map(|&byte| u64::from(byte)).sum::<u64>();
        if unsigned.saturating_sub(own).saturating_add(8 * 32) != expected
            && i64::try_from(expected) != Ok(sum(|byte| i64::from(byte.cast_signed())))
        {
            return Err("a header with a wrong checksum");
        }
        let type_flag = block.get(156).copied().unwrap_or_default();
        let kind = match type_flag {
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' | b'4' => Kind::Device,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            b'x' | b'X' => Kind::Pax,
            b'g' => Kind::PaxGlobal,
            b'L' => Kind::LongName,
            b'K' => Kind::LongLink,
            _ => Kind::Other,
        };
        let magic = field(257, 8);
        let mut name = text(field(0, 100)).to_vec();
        // GNU's format uses ustar's prefix field for other data.
        if magic.starts_with(b"ustar\0") {
            let prefix = text(field(345, 155));
            if !prefix.is_empty() {
                name = [prefix, b"/", &name].concat();
            }
        }
        let sparse = match type_flag {
            // Other programs use the same letter for formats of their own.
            b'S' if magic != b"ustar  \0" => return Err("a sparse file in an unknown format"),
            b'S' => Some(GnuSparse {
                size: number(field(483, 12))?,
                parts: sparse_parts(field(386, 96))?,
                more: field(482, 1) != [0],
            }),
            _ => None,
        };
        Ok(Self { name, link: text(field(157, 100)).to_vec(), kind, size: number(field(124, 12))?, sparse })
    }
}

/// Reads the parts in a field of a sparse file's map: 12 bytes of offset, 12 of length. The first empty one ends it.
pub(super) fn sparse_parts(field: &[u8]) -> Result<Vec<(u64, u64)>, &'static str> {
    let (parts, _) = field.as_chunks::<24>();
    let used = parts.iter().take_while(|part| part.first() != Some(&0));
    used.map(|part| {
        let (offset, length) = part.split_at(12);
        Ok((number(offset)?, number(length)?))
    })
    .collect()
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Octal digits between spaces and NULs, or base 256 if the first bit is set.
fn number(field: &[u8]) -> Result<u64, &'static str> {
    const TOO_LARGE: &str = "a number that is too large";
    match field.split_first() {
        Some((first, _)) if first & 0xc0 == 0xc0 => Err("a negative number"),
        Some((first, rest)) if first & 0x80 != 0 => rest.iter().try_fold(u64::from(first & 0x3f), |value, &byte| {
            value.checked_mul(256).map(|value| value | u64::from(byte)).ok_or(TOO_LARGE)
        }),
        _ => {
            let digits = field.trim_ascii_start();
            let end = digits.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(digits.len());
            let (digits, rest) = digits.split_at(end);
            if !rest.iter().all(|byte| matches!(byte, 0 | b' ')) {
                return Err("an invalid number");
            }
            digits.iter().try_fold(0_u64, |value, &digit| match digit {
                b'0'..=b'7' => value.checked_mul(8).map(|value| value | u64::from(digit - b'0')).ok_or(TOO_LARGE),
                b'-' => Err("a negative number"),
                _ => Err("an invalid number"),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        for (field, value) in [
            (&b"0000644\0"[..], Ok(0o644)),
            (b"    644 ", Ok(0o644)),
            (b"00000000011\0", Ok(9)),
            (b"77777777777 ", Ok(0o77_777_777_777)),
            (b"\0\0\0\0", Ok(0)),
            (b"", Ok(0)),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\x02", Ok(258)),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", Ok(u64::MAX)),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", Err("a number that is too large")),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Err("a negative number")),
            (b"-0000000001\0", Err("a negative number")),
            (b"0000009\0", Err("an invalid number")),
            (b"12\x0034\0", Err("an invalid number")),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }
}
