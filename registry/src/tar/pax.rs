//! The records of an extended (pax) header, `LENGTH KEY=VALUE\n`. Keeps only those that set an entry's path or size, or
//! say which parts of it are stored.

use super::sparse;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub sparse: sparse::Records,
}

impl Records {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

pub(super) fn parse(mut body: &[u8]) -> Result<Records, &'static str> {
    const BAD: &str = "an invalid extended header";
    let mut records = Records::default();
    let mut sparse_name = None;
    while !body.is_empty() {
        let space = body.iter().take(20).position(|&byte| byte == b' ').ok_or(BAD)?;
        let (digits, _) = body.split_at(space);
        let length = usize::try_from(decimal(digits).ok_or(BAD)?).map_err(|_| BAD)?;
        let (record, rest) = body.split_at_checked(length).ok_or(BAD)?;
        body = rest;
        let record = record.get(space.saturating_add(1)..).and_then(|r| r.strip_suffix(b"\n")).ok_or(BAD)?;
        let equals = record.iter().position(|&byte| byte == b'=').ok_or(BAD)?;
        let (key, value) = record.split_at(equals);
        let value = value.get(1..).unwrap_or_default();
        // An empty value cancels a global header's value.
        let text = (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => records.path = text,
            b"linkpath" => records.link = text,
            b"GNU.sparse.name" => sparse_name = text,
            b"size" if value.is_empty() => records.size = None,
            b"size" => records.size = Some(decimal(value).ok_or("an invalid size")?),
            b"GNU.sparse.major" => records.sparse.major = decimal(value),
            b"GNU.sparse.minor" => records.sparse.minor = decimal(value),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                records.sparse.size = Some(decimal(value).ok_or("an invalid size")?);
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                let is_offset = records.sparse.numbers.len() % 2 == 0;
                if is_offset != (key == b"GNU.sparse.offset") {
                    return Err("a sparse file with half a part");
                }
                records.sparse.numbers.push(decimal(value).ok_or("a sparse file with an invalid map")?);
            }
            b"GNU.sparse.map" => {
                let numbers = value.split(|&byte| byte == b',').filter(|_| !value.is_empty()).map(decimal);
                records.sparse.numbers = numbers.collect::<Option<_>>().ok_or("a sparse file with an invalid map")?;
            }
            _ => {}
        }
    }
    // A sparse file's real path is beside a made-up one.
    records.path = sparse_name.or(records.path);
    Ok(records)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read() {
        let body = b"30 mtime=1700000000.123456789\n14 path=a/b/c\n13 size=1024\n14 linkpath=x\n";
        let records = parse(body).unwrap();
        assert_eq!(records.path.as_deref(), Some(&b"a/b/c"[..]));
        assert_eq!(records.link.as_deref(), Some(&b"x"[..]));
        assert_eq!(records.size, Some(1024));
        assert!(parse(b"").unwrap().is_empty());
        assert!(parse(b"9 path=\n\n").unwrap().path.is_some());
        assert!(parse(b"8 path=\n").unwrap().is_empty());
    }

    #[test]
    fn sparse_files_are_described_in_two_ways() {
        let body = b"21 GNU.sparse.size=9\n23 GNU.sparse.offset=1\n25 GNU.sparse.numbytes=2\n";
        let records = parse(body).unwrap().sparse;
        assert_eq!((records.size, records.numbers.as_slice()), (Some(9), &[1, 2][..]));
        let body = b"22 GNU.sparse.major=0\n22 GNU.sparse.minor=1\n26 GNU.sparse.map=0,4,8,1\n";
        let records = parse(body).unwrap().sparse;
        assert_eq!((records.major, records.minor), (Some(0), Some(1)));
        assert_eq!(records.map(), Ok(Some(sparse::Map::Here(vec![(0, 4), (8, 1)]))));
        for bad in [&b"25 GNU.sparse.numbytes=2\n"[..], b"20 GNU.sparse.map=,\n", b"24 GNU.sparse.map=1,2,-3\n"] {
            assert!(parse(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for body in [
            &b"x"[..],
            b"0 a=b\n",
            b"6 a=b",
            b"5 a=b\n",
            b"99 a=b\n",
            b"6 abc\n",
            b"18446744073709551616 a=b\n",
            b"-1 a=b\n",
            b"11 size=-1\n",
            b"11 size=1x\n",
            b"                              6 a=b\n",
            b"3 \n",
            b"2 ",
        ] {
            assert!(parse(body).is_err(), "{:?}", String::from_utf8_lossy(body));
        }
    }
}
