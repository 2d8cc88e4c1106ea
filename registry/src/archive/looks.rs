//! Tells by its first bytes what something is that is neither a tar archive nor compressed by gzip or zstd. Only for
//! messages; nothing is decided by it.

use super::json::looks_like_json;
use crate::compress::{Encoding, sniff};
use crate::tar::looks_like_tar;

/// Bytes needed to recognize something.
pub(super) const HEAD_BYTES: usize = 512;

/// The name of a compression that is not read, and the command that undoes it.
pub(super) fn packed(head: &[u8]) -> Option<(&'static str, &'static str)> {
    Some(match head {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => ("xz", "xz -dc"),
        [b'B', b'Z', b'h', ..] => ("bzip2", "bzip2 -dc"),
        [4, 0x22, 0x4d, 0x18, ..] => ("lz4", "lz4 -dc"),
        [b'L', b'Z', b'I', b'P', ..] => ("lzip", "lzip -dc"),
        [0x1f, 0x9d, ..] => ("compress", "gzip -dc"),
        // Weaker than the others, and no header of a tar archive.
        [0x5d, 0, 0, ..] if !looks_like_tar(head) => ("lzma", "xz --format=lzma -dc"),
        _ => return None,
    })
}

/// A phrase that completes "it ..."; `None` for what can be read.
pub(super) fn looks(head: &[u8]) -> Option<&'static str> {
    Some(match head {
        [] => "is empty",
        _ if sniff(head) != Encoding::Plain || looks_like_tar(head) => return None,
        [b'P', b'K', 3 | 5, 4 | 6, ..] => "is a zip file",
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => "is compressed with xz",
        [b'B', b'Z', b'h', ..] => "is compressed with bzip2",
        _ if packed(head).is_some() => "is compressed in a way that no container runtime reads",
        [b'7', b'z', 0xbc, 0xaf, ..] => "is a 7z archive",
        [0x7f, b'E', b'L', b'F', ..] => "is a program",
        [b'h', b's' | b'q', b's' | b'f', ..] => "is a disk image",
        _ if is_form(head) => {
            "is a form (multipart/form-data, which `curl -F` sends), and the bare archive is wanted (`curl -T FILE`)"
        }
        _ if head.trim_ascii_start().starts_with(b"<") && is_text(head) => "is a web page",
        _ if looks_like_json(head) => "is JSON",
        _ if head.len() < HEAD_BYTES => "is too short",
        _ if is_text(head) => "is text",
        _ => "starts with nothing that is known",
    })
}

/// A part of a form begins with its boundary and its headers.
fn is_form(head: &[u8]) -> bool {
    let named = |name: &[u8]| head.windows(name.len()).any(|window| window.eq_ignore_ascii_case(name));
    head.starts_with(b"--") && named(b"\ncontent-disposition: form-data")
}

fn is_text(head: &[u8]) -> bool {
    head.iter().all(|&byte| byte >= b' ' || matches!(byte, b'\n' | b'\r' | b'\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_mistakes_have_names() {
        let form =
            b"--------------------------d74496d66958873e\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx";
        for (head, word) in [
            (&form[..], "form"),
            (b"<!DOCTYPE html>", "web page"),
            (b"{\"error\":\"denied\"}", "JSON"),
            (b"\xfd7zXZ\0\0\0", "xz"),
            (b"BZh91AY", "bzip2"),
            (b"PK\x03\x04", "zip"),
            (b"", "empty"),
            (b"FROM x", "too short"),
        ] {
            assert!(looks(head).unwrap().contains(word), "{head:?}");
        }
        assert!(looks(&b"FROM python\n".repeat(50)).unwrap().contains("is text"));
        assert!(looks(&[0x1f, 0x8b, 8]).is_none() && looks(&[0; 512]).is_none());
    }
}
