//! Takes layers in, whatever they are read from: asks the sink what it wants of one, reads and checks it, and remembers
//! what came.

use std::collections::HashMap;

use bytes::Bytes;

use super::documents::Documents;
use super::layer::{Budget, Layer, check};
use super::paths::{Links, blob_digest};
use super::resolve::{Candidate, Resolved, resolve};
use super::select::{Came, assemble, select};
use super::{Archive, ArchiveError, LayerEnd, LayerStart, Sink, Want};
use crate::image::Image;
use crate::limits::{Limits, Rules};

/// How many platforms' layers an archive may have.
const PLATFORMS: usize = 8;

/// The data of one entry in pieces, none of them empty.
pub(super) trait Pieces {
    fn piece(&mut self) -> Result<Option<Bytes>, ArchiveError>;
    /// Leaves out what has not been read.
    fn skip(&mut self) -> Result<(), ArchiveError>;
}

pub(super) struct Intake<'a> {
    pub limits: &'a Limits,
    pub rules: &'a Rules,
    sink: &'a mut dyn Sink,
    budget: Budget,
    pub links: Links,
    came: HashMap<String, Came>,
}

impl<'a> Intake<'a> {
    pub fn new(limits: &'a Limits, rules: &'a Rules, sink: &'a mut dyn Sink) -> Self {
        let budget = Budget::new(limits, &rules.allow);
        Self { limits, rules, sink, budget, links: Links::default(), came: HashMap::new() }
    }

    pub fn layer(&mut self, start: LayerStart, pieces: &mut dyn Pieces) -> Result<(), ArchiveError> {
        if self.came.len() >= self.limits.layers.saturating_mul(PLATFORMS) {
            return Err(ArchiveError::TooMuch {
                what: "the number of layers in the archive".to_owned(),
                limit: self.limits.layers.saturating_mul(PLATFORMS).to_string(),
                advice: "; save fewer images into one archive",
            });
        }
        let (name, size, encoding) = (start.name.clone(), start.size, start.encoding);
        let claimed = start.blob;
        // Too large is said before the sink begins anything.
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
        // A blob of a layout is what its name says; other names were only hints.
        check(&name, blob_digest(&name), end.blob)?;
        self.sink.end(&end)?;
        let LayerEnd { diff_id, blob, .. } = end;
        self.came.insert(name, Came { diff_id, blob: Some(blob), size, encoding, end: Some(end) });
        Ok(())
    }

    /// What the archive says it has, as far as it is wanted.
    pub fn resolve(&self, documents: &mut dyn Documents) -> Result<Resolved, ArchiveError> {
        let mut resolved = resolve(documents, &self.links, self.limits, self.rules)?;
        resolved.candidates = select(resolved.candidates, self.rules, &mut resolved.skipped)?;
        Ok(resolved)
    }

    pub fn finish(self, resolved: Resolved, bytes_read: u64) -> Result<Archive, ArchiveError> {
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
