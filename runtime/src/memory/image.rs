//! An image: the linear memory of a guest at rest, in a file that slots map copy-on-write.

use std::fs::File;
use std::io;
use std::path::Path;

use super::mapping::Mapping;
use super::slot::WASM_PAGE;

/// A read-only memory image. Its length is a multiple of the WebAssembly page size. The file belongs to the cache and
/// is immutable.
#[derive(Debug)]
pub struct Image {
    file: File,
    mapping: Mapping,
    digest: String,
}

impl Image {
    /// Opens an image file. `digest` identifies its content.
    pub fn open(path: &Path, digest: String) -> io::Result<Self> {
        let file = File::open(path)?;
        let mapping = Mapping::of(&file)?;
        if mapping.is_empty() || !mapping.len().is_multiple_of(WASM_PAGE) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an image's size must be a multiple of 64 KiB"));
        }
        Ok(Self { file, mapping, digest })
    }

    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    pub fn is_empty(&self) -> bool {
        self.mapping.is_empty()
    }

    /// Identifies the content: equal digests mean equal bytes.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub fn bytes(&self) -> &[u8] {
        self.mapping.as_ref()
    }
}
