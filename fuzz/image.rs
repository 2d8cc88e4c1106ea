//! What reads image archives, each as a function of bytes, as in `targets.rs`; the smoke test is the registry's own.

use std::io::{Cursor, Seek, Write};

use bytes::Bytes;
use cofferdam_registry::{
    Archive, ArchiveError, LayerEnd, LayerStart, Limits, Rules, Sink, SinkError, Source, Want, read_archive,
};

pub type Target = fn(&[u8]);

pub const IMAGE_TARGETS: [(&str, Target); 2] = [("image_archive", image_archive), ("image_headers", image_headers)];

/// Takes everything, and does nothing with it.
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

fn limits() -> Limits {
    Limits { archive_bytes: 8 << 20, layer_bytes: 4 << 20, ratio_after: 1 << 20, ..Limits::default() }
}

fn stream(bytes: &[u8]) -> Result<Archive, ArchiveError> {
    let source = Source::Stream(Box::new(Cursor::new(bytes.to_vec())));
    read_archive(source, &limits(), &Rules::default(), &mut Nowhere::default())
}

fn file(bytes: &[u8]) -> Result<Archive, ArchiveError> {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).and_then(|()| file.rewind()).expect("a file");
    read_archive(Source::File(file), &limits(), &Rules::default(), &mut Nowhere::default())
}

/// An archive as it is: what a stream of it is taken for, a file of it is taken for too.
pub fn image_archive(bytes: &[u8]) {
    let streamed = stream(bytes);
    let text = streamed.as_ref().err().map(ToString::to_string).unwrap_or_default();
    assert!(text.len() < 2_000 && !text.contains('\x1b'), "{text}");
    if let Ok(streamed) = streamed {
        let found = file(bytes).expect("a file is taken where a stream is");
        let digests = |archive: &Archive| archive.images.iter().map(|image| image.config_digest).collect::<Vec<_>>();
        assert_eq!(digests(&streamed), digests(&found));
    }
}

/// An archive whose headers are given right checksums first: what a fuzzer would hardly find.
pub fn image_headers(bytes: &[u8]) {
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
