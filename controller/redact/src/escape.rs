//! Reads one escaped character of a text: for a URL, in JSON or a program's string, in HTML, in quoted-printable; also where
//! the characters of the escape are escaped once more, as in JSON in JSON. Pure.

/// Digits of a number in HTML, with leading zeros.
const MAX_ENTITY_DIGITS: usize = 8;
/// Names in HTML of the characters that every encoder for HTML escapes.
const NAMES: [(&[u8], u8); 5] = [(b"amp;", b'&'), (b"lt;", b'<'), (b"gt;", b'>'), (b"quot;", b'"'), (b"apos;", b'\'')];

/// An escape's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Byte(u8),
    /// A character beyond ASCII.
    Char(char),
    /// A byte beyond ASCII, or the character of that number: encoders differ.
    Either(u8),
}

impl Code {
    /// The byte, if the code stands for ASCII.
    pub(crate) fn ascii(self) -> Option<u8> {
        match self {
            Self::Byte(byte) => Some(byte),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escape {
    /// The code, and the position behind the escape.
    Is(Code, usize),
    /// The text ends before the escape does.
    Open,
    No,
}

/// A text's characters by depth: at 1 the bytes as they are, at 2 unescaped once.
struct Chars<'a> {
    data: &'a [u8],
    at: usize,
    depth: u8,
}

/// The reason for which there is no escape.
enum Not {
    Open,
    No,
}

/// True for a byte that can begin an escape.
pub(crate) fn begins_escape(byte: u8) -> bool {
    matches!(byte, b'%' | b'\\' | b'&' | b'=')
}

/// The escape at a position. `depth` 1: as it is; 2: its characters are escaped themselves.
pub(crate) fn escape(data: &[u8], at: usize, depth: u8) -> Escape {
    match Chars::read(data, at, depth) {
        Ok((code, end)) => Escape::Is(code, end),
        Err(Not::Open) => Escape::Open,
        Err(Not::No) => Escape::No,
    }
}

impl<'a> Chars<'a> {
    fn read(data: &'a [u8], at: usize, depth: u8) -> Result<(Code, usize), Not> {
        let mut chars = Self { data, at, depth };
        let code = match chars.next()? {
            b'%' => chars.percent()?,
            b'=' if depth == 1 => chars.byte()?,
            b'\\' => chars.backslash()?,
            b'&' => chars.entity()?,
            _ => return Err(Not::No),
        };
        Ok((code, chars.at))
    }

    fn next(&mut self) -> Result<u8, Not> {
        let byte = *self.data.get(self.at).ok_or(Not::Open)?;
        if self.depth > 1 && begins_escape(byte) && byte != b'=' {
            match Self::read(self.data, self.at, self.depth - 1) {
                Ok((code, end)) => {
                    self.at = end;
                    return code.ascii().ok_or(Not::No);
                }
                Err(Not::Open) => return Err(Not::Open),
                Err(Not::No) => {}
            }
        }
        self.at += 1;
        Ok(byte)
    }

    fn hex(&mut self, digits: usize) -> Result<u32, Not> {
        let mut number = 0;
        for _ in 0..digits {
            number = number * 16 + char::from(self.next()?).to_digit(16).ok_or(Not::No)?;
        }
        Ok(number)
    }

    fn byte(&mut self) -> Result<Code, Not> {
        let byte = u8::try_from(self.hex(2)?).map_err(|_| Not::No)?;
        Ok(if byte.is_ascii() { Code::Byte(byte) } else { Code::Either(byte) })
    }

    fn percent(&mut self) -> Result<Code, Not> {
        let at = self.at;
        if self.next()? == b'u' {
            return self.utf16(b'%');
        }
        self.at = at;
        self.byte()
    }

    fn backslash(&mut self) -> Result<Code, Not> {
        let byte = match self.next()? {
            byte @ (b'"' | b'\\' | b'/' | b'\'') => byte,
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'x' => return self.byte(),
            b'u' => return self.utf16(b'\\'),
            _ => return Err(Not::No),
        };
        Ok(Code::Byte(byte))
    }

    /// Four digits, and the same again for the second half of a pair.
    fn utf16(&mut self, introducer: u8) -> Result<Code, Not> {
        let mut number = self.hex(4)?;
        if (0xd800..0xdc00).contains(&number) {
            for expected in [introducer, b'u'] {
                if self.next()? != expected {
                    return Err(Not::No);
                }
            }
            let low = self.hex(4)?.checked_sub(0xdc00).filter(|low| *low < 0x400).ok_or(Not::No)?;
            number = 0x1_0000 + ((number - 0xd800) << 10) + low;
        }
        code(number)
    }

    fn entity(&mut self) -> Result<Code, Not> {
        let first = self.next()?;
        if first == b'#' {
            return self.number();
        }
        let mut given = [first, 0, 0, 0, 0];
        for length in 1..given.len() {
            let read = given.get(..length).unwrap_or_default();
            if let Some((_, byte)) = NAMES.iter().find(|(name, _)| *name == read) {
                return Ok(Code::Byte(*byte));
            }
            if !NAMES.iter().any(|(name, _)| name.starts_with(read)) {
                return Err(Not::No);
            }
            let byte = self.next()?;
            if let Some(place) = given.get_mut(length) {
                *place = byte;
            }
        }
        NAMES.iter().find(|(name, _)| **name == given).map(|(_, byte)| Code::Byte(*byte)).ok_or(Not::No)
    }

    fn number(&mut self) -> Result<Code, Not> {
        let (mut number, mut radix) = (None::<u32>, 10);
        for place in 0..=MAX_ENTITY_DIGITS + 1 {
            match self.next()? {
                b'x' | b'X' if place == 0 => radix = 16,
                b';' => return code(number.ok_or(Not::No)?),
                byte => {
                    let digit = char::from(byte).to_digit(radix).ok_or(Not::No)?;
                    number = number.unwrap_or_default().checked_mul(radix).and_then(|n| n.checked_add(digit));
                    number.ok_or(Not::No)?;
                }
            }
        }
        Err(Not::No)
    }
}

fn code(number: u32) -> Result<Code, Not> {
    match u8::try_from(number) {
        Ok(byte) if byte.is_ascii() => Ok(Code::Byte(byte)),
        _ => char::from_u32(number).map(Code::Char).ok_or(Not::No),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_several_languages() {
        for (text, code) in [
            ("%41", Code::Byte(b'A')),
            ("%6a", Code::Byte(b'j')),
            ("%6A", Code::Byte(b'j')),
            ("%c3", Code::Either(0xc3)),
            ("%u00e9", Code::Char('é')),
            (r"\n", Code::Byte(b'\n')),
            (r#"\""#, Code::Byte(b'"')),
            (r"\/", Code::Byte(b'/')),
            (r"\\", Code::Byte(b'\\')),
            (r"\u0041", Code::Byte(b'A')),
            ("=3D", Code::Byte(b'=')),
            (r"\u00E9", Code::Char('é')),
            (r"\ud83d\uDE00", Code::Char('😀')),
            (r"\x41", Code::Byte(b'A')),
            (r"\xe9", Code::Either(0xe9)),
            ("&amp;", Code::Byte(b'&')),
            ("&lt;", Code::Byte(b'<')),
            ("&quot;", Code::Byte(b'"')),
            ("&#39;", Code::Byte(b'\'')),
            ("&#0065;", Code::Byte(b'A')),
            ("&#x1F600;", Code::Char('😀')),
        ] {
            assert_eq!(escape(text.as_bytes(), 0, 1), Escape::Is(code, text.len()), "{text}");
            for end in 1..text.len() {
                assert_eq!(escape(&text.as_bytes()[..end], 0, 1), Escape::Open, "{text} {end}");
            }
        }
        for text in
            ["a", "%4g", "%%41", r"\q", r"\u00g0", r"\ud83dx", r"\udc00", "&x;", "&amp,", "&#;", "&#x;", "&#999999999;"]
        {
            assert_eq!(escape(text.as_bytes(), 0, 1), Escape::No, "{text}");
        }
    }

    #[test]
    fn escapes_that_are_escaped_themselves() {
        for (text, code) in [
            (r"\\u0041", Code::Byte(b'A')),
            (r"\\n", Code::Byte(b'\n')),
            (r#"\\\""#, Code::Byte(b'"')),
            (r"\\\\", Code::Byte(b'\\')),
            (r"\\ud83d\\ude00", Code::Char('😀')),
            (r"\u0026lt;", Code::Byte(b'<')),
            ("&amp;#65;", Code::Byte(b'A')),
            ("%2541", Code::Byte(b'A')),
            ("%5Cu0041", Code::Byte(b'A')),
        ] {
            assert_eq!(escape(text.as_bytes(), 0, 2), Escape::Is(code, text.len()), "{text}");
        }
    }
}
