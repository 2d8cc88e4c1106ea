//! A file's bytes, mapped for reading.
#![allow(unsafe_code)] // reason: reads a mapping of its own by address

use std::fs::File;
use std::io;
use std::ptr::NonNull;

use super::sys;
use crate::files;

/// A read-only mapping of an immutable file of the cache or of a kernel.
#[derive(Debug)]
pub struct Mapping {
    at: Option<NonNull<u8>>,
    len: usize,
}

// SAFETY: the mapping is read-only and lives as long as the value.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub fn of(file: &File) -> io::Result<Self> {
        let len = usize::try_from(files::len(file)?).map_err(io::Error::other)?;
        let at = if len == 0 { None } else { Some(sys::map_shared(file, len)?) };
        Ok(Self { at, len })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `at` covers `len` readable bytes while `self` lives. The type's files are immutable.
        self.at.map_or(&[], |at| unsafe { std::slice::from_raw_parts(at.as_ptr(), self.len) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if let Some(at) = self.at {
            // SAFETY: this value owns the mapping, and no borrow outlives it.
            unsafe { sys::release(at, self.len) };
        }
    }
}
