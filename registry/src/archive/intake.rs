//! Takes in layers from any source: asks the sink what it wants, reads and checks the layer, and records the result.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::candidate::Candidate;
use super::documents::Documents;
use super::layer::{Budget, Layer, check};
use super::paths::{Links, blob_digest};
use super::resolve::{Resolved, resolve};
use super::select::{Came, assemble, no_image, only_complete, select};
use super::{Archive, ArchiveError, LayerEnd, LayerStart, Sink, Want};
use crate::digest::Digest;
use crate::image::Image;
use crate::limits::{ArchiveLimits, Rules};
use crate::scan::Findings;

/// The most platforms whose layers one archive may hold.
const PLATFORMS: usize = 8;
/// Bytes of layers that are read for further secrets after the first one, so that all are named at once.
const MAX_BYTES_AFTER_SECRET: u64 = 2 << 30;

/// The data of one entry, in non-empty pieces.
pub(super) trait Pieces {
    fn piece(&mut self) -> Result<Option<Bytes>, ArchiveError>;
    /// Skips the unread rest.
    fn skip(&mut self) -> Result<(), ArchiveError>;
    /// True if the bytes at this place are those that were read, and no change of them could go unnoticed.
    fn are_still_at(&self, place: &str) -> bool;
}

pub(super) struct Intake<'a> {
    pub limits: &'a ArchiveLimits,
    pub rules: &'a Rules,
    sink: &'a mut dyn Sink,
    budget: Budget,
    pub links: Links,
    came: HashMap<String, Came>,
    /// Files that are no layers although a manifest may say so: what they look like.
    strange: HashMap<String, &'static str>,
    /// Bytes of layers read since the first secret.
    after_secret: u64,
}

impl<'a> Intake<'a> {
    pub(super) fn new(limits: &'a ArchiveLimits, rules: &'a Rules, sink: &'a mut dyn Sink) -> Self {
        let budget = Budget::new(limits, &rules.allow);
        Self {
            limits,
            rules,
            sink,
            budget,
            links: Links::default(),
            came: HashMap::new(),
            strange: HashMap::new(),
            after_secret: 0,
        }
    }

    /// The files found so far that do not belong into an image.
    pub(super) fn findings(&self) -> Arc<Findings> {
        Arc::clone(&self.budget.findings)
    }

    /// Notes what a file looks like that cannot be a layer.
    pub(super) fn strange(&mut self, path: &str, looks: Option<&'static str>) {
        self.strange.insert(path.to_owned(), looks.unwrap_or("is no layer"));
    }

    /// Takes in a layer. Returns the digest of its stored bytes, if it was read.
    ///
    /// After the first secret the sink hears of nothing more: what it has of the layer never becomes a blob, and the rest
    /// of the archive is read only to name all secrets.
    pub(super) fn layer(&mut self, start: LayerStart, pieces: &mut dyn Pieces) -> Result<Option<Digest>, ArchiveError> {
        if self.came.len() >= self.limits.layers.saturating_mul(PLATFORMS) {
            return Err(ArchiveError::TooMuch {
                what: "the number of layers in the archive".to_owned(),
                limit: self.limits.layers.saturating_mul(PLATFORMS).to_string(),
                advice: "; save fewer images into one archive",
            });
        }
        let (name, size, encoding) = (start.name.clone(), start.size, start.encoding);
        let (claimed, place) = (start.blob, start.place.clone());
        // Reports a layer that is too large before the sink starts anything.
        let mut layer = Layer::new(start.clone(), &self.budget)?;
        let findings = self.findings();
        let want = if findings.is_empty() { self.sink.begin(&start)? } else { Want::HashOnly };
        if let Want::Nothing { diff_id } = want {
            pieces.skip()?;
            let came = Came { diff_id, blob: claimed, size, encoding, end: None };
            self.came.insert(name, came);
            return Ok(None);
        }
        while let Some(piece) = pieces.piece()? {
            if !layer.feed(&piece)? {
                break;
            }
            if findings.is_empty() {
                if want == Want::Bytes {
                    self.sink.bytes(piece)?;
                }
                continue;
            }
            self.after_secret = self.after_secret.saturating_add(piece.len() as u64);
            if findings.is_full() || self.after_secret > MAX_BYTES_AFTER_SECRET {
                return Err(enough());
            }
        }
        let mut end = layer.finish(&mut self.budget)?;
        end.place = place.filter(|place| pieces.are_still_at(place));
        // A blob in an OCI layout must match its name. Other names were only hints.
        check(&name, blob_digest(&name), end.blob)?;
        if findings.is_empty() {
            self.sink.end(&end)?;
        }
        let LayerEnd { diff_id, blob, .. } = end;
        self.came.insert(name, Came { diff_id, blob: Some(blob), size, encoding, end: Some(end) });
        Ok(Some(blob))
    }

    /// The images that the archive declares, as far as they are wanted.
    pub(super) fn resolve(&self, documents: &mut dyn Documents) -> Result<Resolved, ArchiveError> {
        let mut resolved = resolve(documents, &self.links, self.limits, self.rules)?;
        if resolved.candidates.is_empty() {
            resolved.settle(documents)?;
            return Err(no_image(self.rules, &resolved.skipped));
        }
        let chosen = select(std::mem::take(&mut resolved.candidates), self.rules, &mut resolved.skipped)?;
        resolved.candidates = only_complete(chosen, documents, &self.links, &mut resolved.skipped)?;
        resolved.settle(documents)?;
        Ok(resolved)
    }

    pub(super) fn finish(self, resolved: Resolved, bytes_read: u64) -> Result<Archive, ArchiveError> {
        let Resolved { form, candidates, skipped, index, mut remarks, .. } = resolved;
        remarks.extend(candidates.iter().flat_map(Candidate::remarks));
        let had = remarks.len();
        let put = |candidate: Candidate| assemble(candidate, &self.links, &self.came, &self.strange, &mut remarks);
        let images = candidates.into_iter().map(put).collect::<Result<Vec<Image>, _>>()?;
        // An index names manifests that are written anew no longer.
        let index = index.filter(|_| remarks.len() == had);
        let layers = || images.iter().flat_map(|image| &image.layers);
        let mut unreferenced: Vec<LayerEnd> = self
            .came
            .into_values()
            .filter_map(|came| came.end)
            .filter(|end| layers().all(|layer| layer.blob != end.blob))
            .collect();
        unreferenced.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Archive { images, form, index, unreferenced, skipped, remarks, bytes_read })
    }
}

/// Ends the reading. The caller names the secrets instead.
fn enough() -> ArchiveError {
    ArchiveError::Bad("the archive has too many files that do not belong into it; build it without them".to_owned())
}
