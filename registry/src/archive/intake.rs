//! Takes in layers from any source: asks the sink what it wants, reads and checks the layer, and records the result.

use std::collections::HashMap;

use bytes::Bytes;

use super::documents::Documents;
use super::layer::{Budget, Layer, check};
use super::paths::{Links, blob_digest};
use super::resolve::{Candidate, Resolved, resolve};
use super::select::{Came, assemble, select};
use super::{Archive, ArchiveError, LayerEnd, LayerStart, Sink, Want};
use crate::image::Image;
use crate::limits::{ArchiveLimits, Rules};

/// The most platforms whose layers one archive may hold.
const PLATFORMS: usize = 8;

/// The data of one entry, in non-empty pieces.
pub(super) trait Pieces {
    fn piece(&mut self) -> Result<Option<Bytes>, ArchiveError>;
    /// Skips the unread rest.
    fn skip(&mut self) -> Result<(), ArchiveError>;
}

pub(super) struct Intake<'a> {
    pub limits: &'a ArchiveLimits,
    pub rules: &'a Rules,
    sink: &'a mut dyn Sink,
    budget: Budget,
    pub links: Links,
    came: HashMap<String, Came>,
}

impl<'a> Intake<'a> {
    pub(super) fn new(limits: &'a ArchiveLimits, rules: &'a Rules, sink: &'a mut dyn Sink) -> Self {
        let budget = Budget::new(limits, &rules.allow);
        Self { limits, rules, sink, budget, links: Links::default(), came: HashMap::new() }
    }

    pub(super) fn layer(&mut self, start: LayerStart, pieces: &mut dyn Pieces) -> Result<(), ArchiveError> {
        if self.came.len() >= self.limits.layers.saturating_mul(PLATFORMS) {
            return Err(ArchiveError::TooMuch {
                what: "the number of layers in the archive".to_owned(),
                limit: self.limits.layers.saturating_mul(PLATFORMS).to_string(),
                advice: "; save fewer images into one archive",
            });
        }
        let (name, size, encoding) = (start.name.clone(), start.size, start.encoding);
        let claimed = start.blob;
        // Reports a layer that is too large before the sink starts anything.
        let mut layer = Layer::new(start.clone(), &self.budget)?;
        let want = self.sink.begin(&start)?;
        if let Want::Nothing { diff_id } = want {
            pieces.skip()?;
            let came = Came { diff_id, blob: claimed, size, encoding, end: None };
            self.came.insert(name, came);
            return Ok(());
        }
        while let Some(piece) = pieces.piece()? {
            if !layer.feed(&piece)? {
                break;
            }
            if want == Want::Bytes {
                self.sink.bytes(piece)?;
            }
        }
        let end = layer.finish(&mut self.budget)?;
        // A blob in an OCI layout must match its name. Other names were only hints.
        check(&name, blob_digest(&name), end.blob)?;
        self.sink.end(&end)?;
        let LayerEnd { diff_id, blob, .. } = end;
        self.came.insert(name, Came { diff_id, blob: Some(blob), size, encoding, end: Some(end) });
        Ok(())
    }

    /// The images that the archive declares, as far as they are wanted.
    pub(super) fn resolve(&self, documents: &mut dyn Documents) -> Result<Resolved, ArchiveError> {
        let mut resolved = resolve(documents, &self.links, self.limits, self.rules)?;
        resolved.candidates = select(resolved.candidates, self.rules, &mut resolved.skipped)?;
        Ok(resolved)
    }

    pub(super) fn finish(self, resolved: Resolved, bytes_read: u64) -> Result<Archive, ArchiveError> {
        let Resolved { form, candidates, skipped } = resolved;
        let put = |candidate: Candidate| assemble(candidate, &self.links, &self.came);
        let images = candidates.into_iter().map(put).collect::<Result<Vec<Image>, _>>()?;
        let layers = || images.iter().flat_map(|image| &image.layers);
        let mut unreferenced: Vec<LayerEnd> = self
            .came
            .into_values()
            .filter_map(|came| came.end)
            .filter(|end| layers().all(|layer| layer.blob != end.blob))
            .collect();
        unreferenced.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Archive { images, form, unreferenced, skipped, bytes_read })
    }
}
