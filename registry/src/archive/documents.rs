//! The JSON documents of an archive, by path: kept while a stream is read, or read on demand.

use std::collections::HashMap;

use bytes::Bytes;

use super::ArchiveError;
use super::layer::check;
use super::paths::blob_digest;
use crate::digest::Digest;
use crate::limits::ArchiveLimits;
use crate::shown::{shown, size};

/// The result of looking up a path.
#[derive(Debug, Clone)]
pub(super) enum Found {
    Missing,
    /// Over the limit for one document, or for all of them together.
    TooLarge {
        limit: usize,
    },
    /// Not JSON.
    Other,
    Json(Bytes),
}

pub(super) trait Documents {
    fn find(&mut self, path: &str) -> Result<Found, ArchiveError>;
    /// True if the archive has a file there: a document, a layer, anything.
    fn has(&mut self, path: &str) -> Result<bool, ArchiveError>;
    /// The path of a main document that is in a folder instead of at the top.
    fn misplaced(&self) -> Option<&str>;
}

/// Finds a main document in a folder.
pub(super) fn in_a_folder<'a>(mut paths: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    paths.find(|path| path.ends_with("/manifest.json") || path.ends_with("/index.json")).map(String::as_str)
}

/// A required document.
pub(super) fn need(documents: &mut dyn Documents, what: &str, path: &str) -> Result<Bytes, ArchiveError> {
    let shown = shown(path.as_bytes());
    match documents.find(path)? {
        Found::Json(bytes) => Ok(bytes),
        Found::Missing => {
            Err(ArchiveError::Bad(format!("{what} {shown} is missing from the archive; save the whole image again")))
        }
        Found::Other => Err(ArchiveError::Bad(format!("{what} {shown} is not JSON; save the image again"))),
        Found::TooLarge { limit } => Err(ArchiveError::TooMuch {
            what: format!("{what} {shown}, or all JSON of the archive together,"),
            limit: size(limit as u64),
            advice: "; save the image again, alone",
        }),
    }
}

/// Checks that a blob matches the digest in its path.
fn check_blob(path: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
    match blob_digest(path) {
        Some(expected) => check(path, Some(expected), Digest::of(bytes)),
        None => Ok(()),
    }
}

/// The documents of a stream, and the kind of everything else in it.
#[derive(Debug, Default)]
pub(super) struct Kept {
    found: HashMap<String, Found>,
    bytes: usize,
}

impl Kept {
    /// The limit that a document of this size would exceed, if it cannot be kept beside the others.
    pub(super) fn over(&self, bytes: u64, limits: &ArchiveLimits) -> Option<usize> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if bytes > limits.json_bytes {
            return Some(limits.json_bytes);
        }
        (self.bytes.saturating_add(bytes) > limits.json_total_bytes).then_some(limits.json_total_bytes)
    }

    pub(super) fn keep(&mut self, path: String, bytes: Bytes) -> Result<(), ArchiveError> {
        check_blob(&path, &bytes)?;
        self.bytes = self.bytes.saturating_add(bytes.len());
        self.found.insert(path, Found::Json(bytes));
        Ok(())
    }

    pub(super) fn note(&mut self, path: String, found: Found) {
        self.found.insert(path, found);
    }
}

impl Documents for Kept {
    fn find(&mut self, path: &str) -> Result<Found, ArchiveError> {
        Ok(self.found.get(path).cloned().unwrap_or(Found::Missing))
    }

    fn has(&mut self, path: &str) -> Result<bool, ArchiveError> {
        Ok(self.found.contains_key(path))
    }

    fn misplaced(&self) -> Option<&str> {
        in_a_folder(self.found.keys())
    }
}
