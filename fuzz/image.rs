//! Readers of image archives, like `targets.rs`. The registry crate has the smoke test.

use std::io::{Cursor, Seek, Write};

use bytes::Bytes;
use cofferdam_registry::{
    Archive, ArchiveError, ArchiveLimits, ArchiveSource, LayerEnd, LayerStart, Rules, Sink, SinkError, Want,
    read_archive,
};

pub(crate) type Target = fn(&[u8]);

pub(crate) const IMAGE_TARGETS: [(&str, Target); 2] =
    [("image_archive", image_archive), ("image_headers", image_headers)];

/// Accepts and discards everything.
#[derive(Default)]
struct Nowhere {
    open: Option<u64>,
}

impl Sink for Nowhere {
    fn begin(&mut self, layer: &LayerStart) -> Result<Want, SinkError> {
        assert!(self.open.replace(layer.size).is_none());
        Ok(Want::Bytes)
    }

    fn bytes(&mut self, piece: Bytes) -> Result<(), SinkError> {
        let left = self.open.as_mut().expect("within a layer");
        *left = left.checked_sub(piece.len() as u64).expect("no more than was said");
        Ok(())
    }

    fn end(&mut self, layer: &LayerEnd) -> Result<(), SinkError> {
        assert_eq!(self.open.take(), Some(0), "{layer:?}");
        Ok(())
    }
}

fn limits() -> ArchiveLimits {
    ArchiveLimits { archive_bytes: 8 << 20, layer_bytes: 4 << 20, ratio_after: 1 << 20, ..ArchiveLimits::default() }
}

fn stream(bytes: &[u8]) -> Result<Archive, ArchiveError> {
    let source = ArchiveSource::Stream(Box::new(Cursor::new(bytes.to_vec())));
    read_archive(source, &limits(), &Rules::default(), &mut Nowhere::default())
}

fn file(bytes: &[u8]) -> Result<Archive, ArchiveError> {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).and_then(|()| file.rewind()).expect("a file");
    read_archive(ArchiveSource::File(file), &limits(), &Rules::default(), &mut Nowhere::default())
}

/// An unmodified archive. Reading it as a file must give the same result as reading it as a stream.
pub(crate) fn image_archive(bytes: &[u8]) {
    let streamed = stream(bytes);
    let text = streamed.as_ref().err().map(ToString::to_string).unwrap_or_default();
    assert!(text.len() < 2_000 && !text.contains('\x1b'), "{text}");
    if let Ok(streamed) = streamed {
        let found = file(bytes).expect("a file is taken where a stream is");
        let digests = |archive: &Archive| archive.images.iter().map(|image| image.config_digest).collect::<Vec<_>>();
        assert_eq!(digests(&streamed), digests(&found));
    }
}

/// An archive whose header checksums are corrected first, which a fuzzer would hardly find.
pub(crate) fn image_headers(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(512) {
        if block[257..262] == *b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    image_archive(&bytes);
}
