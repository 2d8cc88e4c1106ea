//! An archive with both main documents: `index.json` leads, and what only `manifest.json` lists counts as well, so that no
//! image is taken or left out silently. Reads no layer.

use super::ArchiveError;
use super::candidate::Candidate;
use super::resolve::Resolver;
use super::select::is_same_name;
use super::{Form, shown};

impl Resolver<'_> {
    /// Adds the images and names that only `manifest.json` has, after `index.json` was read.
    pub(super) fn both(&mut self, remarks: &mut Vec<String>) -> Result<Form, ArchiveError> {
        if self.is_empty {
            self.saved()?;
            remarks.push("manifest.json was taken instead of index.json, which names no image".to_owned());
            return Ok(Form::DockerSave);
        }
        let own = std::mem::take(&mut self.found);
        // Most images are in both, and count once.
        self.read = 0;
        let read = self.saved();
        let listed = std::mem::replace(&mut self.found, own);
        match read {
            Ok(()) => {}
            // The layout is good without it.
            Err(error @ (ArchiveError::Bad(_) | ArchiveError::Digest { .. })) => {
                remarks.push(format!("manifest.json beside index.json was not read to its end: {error}"));
            }
            Err(error) => return Err(error),
        }
        for candidate in listed {
            self.add(candidate)?;
        }
        Ok(Form::OciLayout)
    }

    fn add(&mut self, candidate: Candidate) -> Result<(), ArchiveError> {
        let mut same = self.found.iter_mut().filter(|one| one.config_digest == candidate.config_digest);
        if let Some(known) = same.next() {
            // Two manifests of one configuration: nothing tells which of them is meant.
            if same.next().is_none() {
                let new = |name: &String| !known.names.iter().any(|other| is_same_name(name, other));
                let new: Vec<String> = candidate.names.into_iter().filter(new).collect();
                known.name(&new);
            }
            return Ok(());
        }
        if !self.rules.wants(&candidate.platform) {
            return Ok(());
        }
        for listed in &candidate.layers {
            if !self.documents.has(self.links.follow(&listed.path)?)? {
                let name = candidate
                    .names
                    .first()
                    .map_or_else(|| candidate.config_digest.to_string(), |name| shown(name.as_bytes()));
                self.skip(name, "only manifest.json lists it, and not all of its layers are in the archive");
                return Ok(());
            }
        }
        self.found.push(candidate);
        Ok(())
    }
}
