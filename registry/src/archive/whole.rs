//! Finds out whether an index of the archive can be pushed as it is: all that it names is there, is wanted, and fits into
//! memory where it is no image. Its digest then stays what was signed. Changes no document.

use bytes::Bytes;

use super::documents::{Documents, Found};
use super::json::{Manifest, parse};
use super::paths::blob_path;
use super::resolve::Resolved;
use super::{ArchiveError, Skipped};
use crate::digest::Digest;
use crate::image::{StoredArtifact, StoredIndex, StoredManifest};

/// An index that `index.json` names, or another index.
#[derive(Debug, Clone)]
pub(super) struct Nested {
    pub index: StoredManifest,
    /// The manifests that it names.
    pub entries: Vec<Digest>,
}

/// A manifest of an index that is no image's.
#[derive(Debug, Clone)]
pub(super) struct Beside {
    pub digest: Digest,
    pub media_type: String,
    pub why: String,
    /// Its index, unless that is `index.json`.
    pub nested: Option<Digest>,
}

impl Resolved {
    /// Decides about the index of the chosen images, and notes every artifact that is not pushed with it.
    pub(super) fn settle(&mut self, documents: &mut dyn Documents) -> Result<(), ArchiveError> {
        let own = self.innermost();
        let nested = own.and_then(|own| self.nested.iter().find(|nested| nested.index.digest == own).cloned());
        self.index = match nested {
            Some(nested) => self.complete(nested, documents)?,
            None => None,
        };
        let pushed = |digest: &Digest| {
            self.index.iter().flat_map(|index| &index.beside).any(|beside| beside.manifest.digest == *digest)
        };
        let left_out = self.beside.iter().filter(|beside| !pushed(&beside.digest));
        let left_out = left_out.map(|beside| Skipped { what: beside.digest.to_string(), why: beside.why.clone() });
        let mut left_out: Vec<Skipped> = left_out.collect();
        // One that several indexes name is left out once.
        left_out.dedup();
        left_out.retain(|one| !self.skipped.contains(one));
        self.skipped.extend(left_out);
        if let Some(outer) = own.and_then(|own| self.above(own)) {
            self.remarks.push(format!(
                "the archive's index {outer} names another index, and is not pushed: signatures of it do not match"
            ));
        }
        if self.index.is_none() && own.is_some() && self.candidates.len() > 1 {
            let remark = "the index is made anew, because not all that the archive's own one names is pushed; signatures \
                          of that one do not match";
            self.remarks.push(remark.to_owned());
        }
        Ok(())
    }

    /// The innermost index that leads to all chosen images.
    fn innermost(&self) -> Option<Digest> {
        let leads = |index: &&Digest| self.candidates.iter().all(|candidate| candidate.is_below(index));
        let ways = &self.candidates.first()?.ways;
        ways.iter().find_map(|way| way.below.iter().rev().find(leads)).copied()
    }

    /// The outermost index above this one.
    fn above(&self, index: Digest) -> Option<Digest> {
        let ways = &self.candidates.first()?.ways;
        // It is pushed as it is if any way begins with it.
        if ways.iter().any(|way| way.below.first() == Some(&index)) {
            return None;
        }
        ways.iter().find(|way| way.below.contains(&index))?.below.first().copied()
    }

    /// `None` if the index names something that is not pushed.
    fn complete(&self, nested: Nested, documents: &mut dyn Documents) -> Result<Option<StoredIndex>, ArchiveError> {
        let mut beside = Vec::new();
        for entry in &nested.entries {
            if self.candidates.iter().any(|candidate| candidate.has_manifest(entry)) {
                continue;
            }
            let own =
                self.beside.iter().find(|beside| beside.digest == *entry && beside.nested == Some(nested.index.digest));
            match own.map(|own| artifact(own, documents)).transpose()?.flatten() {
                Some(artifact) => beside.push(artifact),
                None => return Ok(None),
            }
        }
        Ok(Some(StoredIndex { index: nested.index, beside }))
    }
}

/// An artifact with all of its content; `None` if some is missing, too large for memory or no JSON.
fn artifact(beside: &Beside, documents: &mut dyn Documents) -> Result<Option<StoredArtifact>, ArchiveError> {
    let Some(bytes) = json(&beside.digest, documents)? else { return Ok(None) };
    let path = blob_path(&beside.digest);
    let Ok(manifest) = parse::<Manifest>("the manifest", &path, &bytes) else { return Ok(None) };
    let mut blobs: Vec<(Digest, Bytes)> = Vec::new();
    for descriptor in std::iter::once(&manifest.config).chain(&manifest.layers) {
        let Some(bytes) = json(&descriptor.digest, documents)? else { return Ok(None) };
        if !blobs.iter().any(|(known, _)| *known == descriptor.digest) {
            blobs.push((descriptor.digest, bytes));
        }
    }
    let media_type =
        [manifest.media_type.as_str(), beside.media_type.as_str()].into_iter().find(|text| !text.is_empty());
    let Some(media_type) = media_type.map(str::to_owned) else { return Ok(None) };
    Ok(Some(StoredArtifact { manifest: StoredManifest { bytes, digest: beside.digest, media_type }, blobs }))
}

/// A blob that is a document. Its digest was checked when it was read.
fn json(digest: &Digest, documents: &mut dyn Documents) -> Result<Option<Bytes>, ArchiveError> {
    Ok(match documents.find(&blob_path(digest))? {
        Found::Json(bytes) => Some(bytes),
        Found::Missing | Found::TooLarge { .. } | Found::Other => None,
    })
}
