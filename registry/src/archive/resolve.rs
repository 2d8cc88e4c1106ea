//! Turns the documents of an archive into the images that it declares. Does not look at layers.

use std::collections::HashSet;

use bytes::Bytes;

use super::candidate::{Candidate, Listed, Way};
use super::documents::{Documents, Found, need};
use super::json::{Descriptor, Index, Saved, parse};
use super::kinds::{artifact, is_index, own_names};
use super::paths::{Links, blob_path, clean, config_digest};
use super::whole::{Beside, Nested};
use super::{ArchiveError, Form, Skipped, layer};
use crate::client::documents::OCI_INDEX;
use crate::digest::Digest;
use crate::image::{StoredIndex, StoredManifest};
use crate::limits::{ArchiveLimits, Rules};
use crate::shown::shown;

/// The deepest nesting of indexes.
const MAX_DEPTH: usize = 4;

#[derive(Debug)]
pub(super) struct Resolved {
    pub form: Form,
    pub candidates: Vec<Candidate>,
    pub skipped: Vec<Skipped>,
    pub remarks: Vec<String>,
    /// The index that is pushed as it is.
    pub index: Option<StoredIndex>,
    /// All indexes but `index.json`, and the manifests in them that are no images.
    pub nested: Vec<Nested>,
    pub beside: Vec<Beside>,
}

pub(super) fn resolve(
    documents: &mut dyn Documents,
    links: &Links,
    limits: &ArchiveLimits,
    rules: &Rules,
) -> Result<Resolved, ArchiveError> {
    let mut resolver = Resolver::new(documents, links, limits, rules);
    let is_saved = !matches!(resolver.documents.find("manifest.json")?, Found::Missing);
    let mut remarks = Vec::new();
    let form = if !matches!(resolver.documents.find("index.json")?, Found::Missing) {
        match resolver.layout() {
            Err(ArchiveError::Bad(why)) if is_saved && resolver.lacks => {
                let Resolver { documents, .. } = resolver;
                resolver = Resolver::new(documents, links, limits, rules);
                resolver.saved()?;
                let why = why.split(';').next().unwrap_or_default();
                remarks.push(format!("manifest.json was taken instead of index.json: {why}"));
                Form::DockerSave
            }
            read => {
                read?;
                if is_saved { resolver.both(&mut remarks)? } else { Form::OciLayout }
            }
        }
    } else if is_saved {
        resolver.saved()?;
        Form::DockerSave
    } else {
        return Err(nothing(resolver.documents)?);
    };
    let Resolver { found: candidates, skipped, nested, beside, .. } = resolver;
    Ok(Resolved { form, candidates, skipped, remarks, index: None, nested, beside })
}

/// The refusal of an archive without a main document.
fn nothing(documents: &mut dyn Documents) -> Result<ArchiveError, ArchiveError> {
    if let Some(path) = documents.misplaced() {
        let path = shown(path.as_bytes());
        return Ok(ArchiveError::Bad(format!(
            "the archive has {path}, which has to be at its top; pack what is in that folder (tar -C FOLDER -c .), and send \
             that"
        )));
    }
    let looks = match documents.has("repositories")? {
        true => "is what Docker before 1.10 wrote, and a current version writes it otherwise",
        false => {
            "is a tar archive with neither `manifest.json` nor `index.json` (what `docker export` writes is a file system, \
             not an image)"
        }
    };
    Ok(ArchiveError::NotAnArchive { looks })
}

pub(super) struct Resolver<'a> {
    pub(super) documents: &'a mut dyn Documents,
    pub(super) links: &'a Links,
    pub limits: &'a ArchiveLimits,
    pub(super) rules: &'a Rules,
    pub found: Vec<Candidate>,
    pub(super) skipped: Vec<Skipped>,
    nested: Vec<Nested>,
    pub beside: Vec<Beside>,
    /// Manifests and indexes read so far.
    pub(super) read: usize,
    /// `index.json` names nothing at all.
    pub(super) is_empty: bool,
    /// The layout lacks a document, or layers that its configuration has.
    pub lacks: bool,
}

/// A descriptor that was not looked at yet.
pub(super) struct Waiting {
    pub descriptor: Descriptor,
    /// Its own, and those of the indexes above it.
    pub names: Vec<String>,
    /// The indexes that lead to it, the outermost first.
    pub below: Vec<Digest>,
}

impl<'a> Resolver<'a> {
    fn new(documents: &'a mut dyn Documents, links: &'a Links, limits: &'a ArchiveLimits, rules: &'a Rules) -> Self {
        Self {
            documents,
            links,
            limits,
            rules,
            found: Vec::new(),
            skipped: Vec::new(),
            nested: Vec::new(),
            beside: Vec::new(),
            read: 0,
            is_empty: false,
            lacks: false,
        }
    }

    fn need(&mut self, what: &str, path: &str) -> Result<Bytes, ArchiveError> {
        let path = self.links.follow(path)?;
        need(self.documents, what, path)
    }

    fn count(&mut self) -> Result<(), ArchiveError> {
        self.read = self.read.saturating_add(1);
        if self.read > self.limits.manifests {
            return Err(self.too_many_manifests());
        }
        Ok(())
    }

    /// The manifests of an index, if their number is within the limit.
    fn few(&self, index: Index) -> Result<Vec<Descriptor>, ArchiveError> {
        let few = index.manifests.len() <= self.limits.manifests;
        few.then_some(index.manifests).ok_or_else(|| self.too_many_manifests())
    }

    fn too_many_manifests(&self) -> ArchiveError {
        ArchiveError::TooMuch {
            what: "the number of manifests in the archive".to_owned(),
            limit: self.limits.manifests.to_string(),
            advice: "; save fewer images into one archive",
        }
    }

    pub(super) fn few_layers(&self, path: &str, layers: usize) -> Result<(), ArchiveError> {
        if layers <= self.limits.layers {
            return Ok(());
        }
        Err(ArchiveError::TooMuch {
            what: format!("the number of layers of the image {}", shown(path.as_bytes())),
            limit: self.limits.layers.to_string(),
            advice: "; build it with fewer steps",
        })
    }

    pub(super) fn skip(&mut self, what: String, why: &str) {
        // What is listed twice is left out once.
        if !self.skipped.iter().any(|skipped| skipped.what == what && skipped.why == why) {
            self.skipped.push(Skipped { what, why: why.to_owned() });
        }
    }

    /// A document that an index names, or `None` if the archive leaves it out: an index may list platforms that were not
    /// saved. `missing` gets the error, in case that nothing else is there.
    pub(super) fn listed(
        &mut self,
        what: &str,
        of: &Digest,
        path: &str,
        missing: &mut Result<(), ArchiveError>,
    ) -> Result<Option<Bytes>, ArchiveError> {
        match self.need(what, path) {
            Err(error @ ArchiveError::Bad(_)) if matches!(self.documents.find(path)?, Found::Missing) => {
                self.skip(of.to_string(), &format!("{} is not in the archive", what.replace("the ", "its ")));
                self.lacks = true;
                if missing.is_ok() {
                    *missing = Err(error);
                }
                Ok(None)
            }
            bytes => bytes.map(Some),
        }
    }

    pub(super) fn saved(&mut self) -> Result<(), ArchiveError> {
        let bytes = self.need("the manifest", "manifest.json")?;
        for saved in parse::<Vec<Saved>>("the manifest", "manifest.json", &bytes)? {
            self.count()?;
            let path = clean(saved.config.as_bytes())?;
            let config = self.need("the configuration", &path)?;
            let digest = Digest::of(&config);
            layer::check(&path, config_digest(&path), digest)?;
            self.few_layers(&path, saved.layers.len())?;
            let listed = |name: &String| Ok(Listed::at(clean(name.as_bytes())?));
            let layers = saved.layers.iter().map(listed).collect::<Result<_, ArchiveError>>()?;
            self.candidate(&path, config, digest, layers, saved.repo_tags)?;
        }
        Ok(())
    }

    fn layout(&mut self) -> Result<(), ArchiveError> {
        let mut waiting = self.top()?;
        let mut seen = HashSet::new();
        let mut missing = Ok(());
        while let Some(next) = waiting.pop() {
            let inner = self.look(next, &mut seen, &mut missing)?;
            // The stack is reversed so that images keep the order of the index.
            waiting.extend(inner.into_iter().rev());
        }
        // A missing one is ignored only if there are others.
        if self.found.is_empty() { missing } else { Ok(()) }
    }

    /// The descriptors of `index.json`, the first one last. One that is there twice has the names of both.
    fn top(&mut self) -> Result<Vec<Waiting>, ArchiveError> {
        let bytes = self.need("the index", "index.json")?;
        let top: Index = parse("the index", "index.json", &bytes)?;
        let mut first: Vec<Waiting> = Vec::new();
        for descriptor in self.few(top)? {
            let names = own_names(&descriptor);
            match first.iter_mut().find(|same| same.descriptor.digest == descriptor.digest) {
                Some(same) => same.names.extend(names),
                None => first.push(Waiting { descriptor, names, below: Vec::new() }),
            }
        }
        self.is_empty = first.is_empty();
        first.reverse();
        Ok(first)
    }

    /// Reads what a descriptor names. Returns the descriptors of an index.
    fn look(
        &mut self,
        next: Waiting,
        seen: &mut HashSet<Digest>,
        missing: &mut Result<(), ArchiveError>,
    ) -> Result<Vec<Waiting>, ArchiveError> {
        let Waiting { descriptor, names, below } = next;
        let digest = descriptor.digest;
        if let Some(why) = artifact(&descriptor, &[]) {
            let nested = below.last().copied();
            self.beside.push(Beside { digest, media_type: descriptor.media_type, why, nested });
            return Ok(Vec::new());
        }
        let claimed = descriptor.platform.as_ref().filter(|claimed| !claimed.architecture.is_empty());
        if let Some(platform) = claimed.map(|c| c.platform()).filter(|platform| !self.rules.wants(platform)) {
            self.skip(digest.to_string(), &format!("it is for {platform}"));
            return Ok(Vec::new());
        }
        let is_new = seen.insert(digest);
        let known = self.nested.iter().any(|nested| nested.index.digest == digest);
        if !is_new && !known {
            self.again(digest, Way { names, below });
            return Ok(Vec::new());
        }
        self.count()?;
        let path = blob_path(&digest);
        let Some(bytes) = self.listed("the manifest", &digest, &path, missing)? else { return Ok(Vec::new()) };
        if !is_index(&descriptor.media_type, &bytes) {
            self.manifest(&path, Waiting { descriptor, names, below }, bytes, missing)?;
            return Ok(Vec::new());
        }
        if below.len() >= MAX_DEPTH {
            return Err(ArchiveError::Bad(format!(
                "the indexes of the archive refer to each other more than {MAX_DEPTH} deep; save the image alone"
            )));
        }
        let index: Index = parse("the index", &path, &bytes)?;
        let media_type = [&index.media_type, &descriptor.media_type].into_iter().find(|text| !text.is_empty());
        let media_type = media_type.map_or(OCI_INDEX, String::as_str).to_owned();
        let inner = self.few(index)?;
        let entries = inner.iter().map(|inner| inner.digest).collect();
        if is_new {
            self.nested.push(Nested { index: StoredManifest { bytes, digest, media_type }, entries });
        }
        let below: Vec<Digest> = below.into_iter().chain([digest]).collect();
        let waiting = |descriptor: Descriptor| {
            let names = names.iter().cloned().chain(own_names(&descriptor)).collect();
            Waiting { descriptor, names, below: below.clone() }
        };
        Ok(inner.into_iter().map(waiting).collect())
    }
}
