//! Image archives as `docker save` writes them, of any size, made while they are written: a hundred thousand files that
//! compress as programs and their libraries do.

use std::io::{self, Write};

use serde_json::json;
use sha2::{Digest, Sha256};

const BLOCK: usize = 1 << 20;
/// The size of a file in a layer, in bytes.
const FILE: usize = 200_000;

/// Writes an image with layers of these sizes; `salt` makes it unique.
pub(crate) fn write(out: &mut impl Write, layers: &[u64], salt: u64) -> io::Result<()> {
    let data = Data::new(salt);
    let (mut names, mut diff_ids) = (Vec::new(), Vec::new());
    for (number, size) in (0_u64..).zip(layers) {
        let files = (size / (FILE as u64 + 1_024)).max(1);
        let bytes = files * (512 + (FILE as u64).next_multiple_of(512)) + 1_024;
        let name = format!("{:064x}/layer.tar", Sha256::digest(format!("{salt} {number}")));
        head(out, &name, bytes)?;
        let mut hashed = Hashed { out, hash: Sha256::new() };
        for file in 0..files {
            head(&mut hashed, &format!("usr/lib/python3/site-packages/m{number}/f{file}.so"), FILE as u64)?;
            data.write(&mut hashed, number * 1_000_003 + file, FILE)?;
            pad(&mut hashed, FILE as u64)?;
        }
        hashed.write_all(&[0; 1_024])?;
        diff_ids.push(format!("sha256:{:x}", hashed.hash.finalize()));
        pad(out, bytes)?;
        names.push(name);
    }
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": {"Entrypoint": ["/agent"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": diff_ids.iter().map(|_| json!({"created_by": "bench"})).collect::<Vec<_>>()
    })
    .to_string();
    let name = format!("{:x}.json", Sha256::digest(&config));
    entry(out, &name, config.as_bytes())?;
    let manifest = json!([{"Config": name, "RepoTags": ["bench/agent:1.0"], "Layers": names}]).to_string();
    entry(out, "manifest.json", manifest.as_bytes())?;
    out.write_all(&[0; 1_024])
}

fn entry(out: &mut impl Write, name: &str, bytes: &[u8]) -> io::Result<()> {
    head(out, name, bytes.len() as u64)?;
    out.write_all(bytes)?;
    pad(out, bytes.len() as u64)
}

fn head(out: &mut impl Write, name: &str, bytes: u64) -> io::Result<()> {
    let mut head = [0_u8; 512];
    let mut put = |at: usize, text: &[u8]| head.iter_mut().skip(at).zip(text).for_each(|(to, from)| *to = *from);
    put(0, name.as_bytes());
    put(100, b"0000644\x000000000\x000000000\0");
    // Up to 8 GiB in octal digits; no layer here is larger.
    put(124, format!("{bytes:011o}\x0000000000000\0        0").as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    head.iter_mut().skip(148).zip(sum.as_bytes()).for_each(|(to, from)| *to = *from);
    out.write_all(&head)
}

fn pad(out: &mut impl Write, bytes: u64) -> io::Result<()> {
    let missing = (bytes.next_multiple_of(512) - bytes) as usize;
    out.write_all(&vec![0; missing])
}

/// Bytes that gzip compresses to about two fifths: noise, words and zeros in turn.
struct Data(Vec<u8>);

impl Data {
    fn new(salt: u64) -> Self {
        let mut state = salt.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        const WORDS: [&str; 8] =
            ["return ", "self.", "import os\n", "def __init__", "\x7fELF", "mov %rax", "None", "agent"];
        let mut bytes = Vec::with_capacity(BLOCK + 64);
        while bytes.len() < BLOCK {
            let which = next();
            match which % 8 {
                0 | 1 => bytes.extend_from_slice(&next().to_le_bytes()),
                2 => bytes.extend_from_slice(&[0; 16]),
                _ => {
                    let word = WORDS.get((which >> 8) as usize % WORDS.len()).unwrap_or(&"");
                    bytes.extend_from_slice(word.as_bytes());
                    bytes.push(b'0' + (which >> 16) as u8 % 10);
                }
            }
        }
        Self(bytes)
    }

    /// A unique file: its start and every page depend on its number.
    fn write(&self, out: &mut impl Write, number: u64, size: usize) -> io::Result<()> {
        let mut left = size;
        let mut at = number.wrapping_mul(7_919) as usize % BLOCK;
        while left > 0 {
            let page = left.min(4_096);
            let stamp = (number << 20 | left as u64).to_le_bytes();
            let stamped = page.min(stamp.len());
            out.write_all(stamp.get(..stamped).unwrap_or_default())?;
            let rest = page - stamped;
            at %= BLOCK - 4_096;
            out.write_all(self.0.get(at..at + rest).unwrap_or_default())?;
            at += rest;
            left -= page;
        }
        Ok(())
    }
}

struct Hashed<'a, W> {
    out: &'a mut W,
    hash: Sha256,
}

impl<W: Write> Write for Hashed<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write_all(bytes)?;
        self.hash.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
