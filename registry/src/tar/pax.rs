//! The records of an extended (pax) header, `LENGTH KEY=VALUE\n`. Keeps only those that set an entry's path or size.

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
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
