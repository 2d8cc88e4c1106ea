//! Packs entries into a layer, and compresses what is written.

use std::io::Write;

use cofferdam_registry::{Digest, Hasher};

use super::generate::Bytes;
use super::tar::{Compress, Entry, write_entry};

pub(crate) fn pack(out: &mut dyn Write, layer: &[Entry]) -> std::io::Result<()> {
    for entry in layer {
        let made = |bytes: &Bytes| bytes.bytes().map_err(std::io::Error::other);
        let data = entry.data.as_ref().map(made).transpose()?.unwrap_or_default();
        let path = made(&entry.path)?;
        for number in 0..entry.count.unwrap_or(1) {
            let path = match std::str::from_utf8(&path) {
                Ok(text) => text.replace("{}", &number.to_string()).into_bytes(),
                Err(_) => path.clone(),
            };
            write_entry(out, entry, &path, &entry.link, &data)?;
        }
    }
    out.write_all(&[0; 1024])
}

/// The compressed bytes, and the digest before compression.
pub(crate) fn squeeze(
    compress: Compress,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(Vec<u8>, Digest), String> {
    struct Hashed<W>(W, Hasher);
    impl<W: Write> Write for Hashed<W> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.write_all(bytes)?;
            self.1.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            self.0.flush()
        }
    }
    let failed = |error: std::io::Error| error.to_string();
    match compress {
        Compress::None => {
            let mut out = Hashed(Vec::new(), Hasher::new());
            write(&mut out).map_err(failed)?;
            Ok((out.0, out.1.finish()))
        }
        Compress::Gzip => {
            let inner = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            let mut out = Hashed(inner, Hasher::new());
            write(&mut out).map_err(failed)?;
            Ok((out.0.finish().map_err(failed)?, out.1.finish()))
        }
        Compress::GzipMembers => {
            let mut out = Hashed(Vec::new(), Hasher::new());
            write(&mut out).map_err(failed)?;
            let mut members = Vec::new();
            for block in out.0.chunks(512) {
                let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
                member.write_all(block).map_err(failed)?;
                members.extend(member.finish().map_err(failed)?);
            }
            Ok((members, out.1.finish()))
        }
        Compress::Zstd | Compress::ZstdWide => {
            let mut inner = zstd::stream::write::Encoder::new(Vec::new(), 1).map_err(failed)?;
            if compress == Compress::ZstdWide {
                inner.window_log(28).map_err(failed)?;
            }
            let mut out = Hashed(inner, Hasher::new());
            write(&mut out).map_err(failed)?;
            Ok((out.0.finish().map_err(failed)?, out.1.finish()))
        }
    }
}
