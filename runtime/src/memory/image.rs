//! An image: the linear memory of a guest at rest, as a file that slots map copy-on-write.

use std::fs::File;
use std::io;
use std::path::Path;

use super::mapping::Mapping;
use super::slot::WASM_PAGE;

/// A read-only memory image. Its length is a whole number of WebAssembly pages. The file belongs to the cache and is
/// never written after it is made.
#[derive(Debug)]
pub struct Image {
    file: File,
    mapping: Mapping,
    digest: String,
}

impl Image {
    /// Opens an image file; `digest` names its content.
    pub fn open(path: &Path, digest: String) -> io::Result<Self> {
        let file = File::open(path)?;
        let mapping = Mapping::of(&file)?;
        if mapping.is_empty() || !mapping.len().is_multiple_of(WASM_PAGE) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an image is a whole number of 64 KiB pages"));
        }
        Ok(Self { file, mapping, digest })
    }

    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    pub fn is_empty(&self) -> bool {
        self.mapping.is_empty()
    }

    /// Names the content: the same digest, the same bytes.
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
