//! Encodes a value for a URL. Pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A value for a URL: every byte that could be anything but a part of the value is encoded.
pub fn percent_encoded(value: &[u8]) -> Vec<u8> {
    percent_encode(value, ENCODED).flat_map(str::as_bytes).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_reserved_is_encoded() {
        assert_eq!(percent_encoded("a-._~/?&= +%\u{e9}Z9".as_bytes()), b"a-._~%2F%3F%26%3D%20%2B%25%C3%A9Z9");
    }
}
