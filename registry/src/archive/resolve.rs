//! Turns the documents of an archive into the images that it declares. Does not look at layers.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;

use super::candidate::{Candidate, Listed};
use super::documents::{Documents, Found, need};
use super::json::{Config, Descriptor, Index, Manifest, Saved, parse};
use super::kinds::{artifact, is_image_config, is_index, is_name, layer_encoding, own_names};
use super::paths::{Links, blob_path, clean, config_digest};
use super::whole::{Beside, Nested};
use super::{ArchiveError, Form, Skipped, layer};
use crate::client::documents::{OCI_INDEX, OCI_MANIFEST};
use crate::digest::Digest;
use crate::image::{EntryPoint, Platform, StoredIndex, StoredManifest};
use crate::limits::{ArchiveLimits, Rules};
use crate::tar::shown;

/// The deepest nesting of indexes.
const MAX_DEPTH: usize = 4;
/// Bounds of one image: its names, and the bytes of its entry point, environment, labels and annotations.
const MAX_NAMES: usize = 64;
const MAX_TEXT_BYTES: usize = 128 << 10;

#[derive(Debug)]
pub(super) struct Resolved {
    pub form: Form,
    pub candidates: Vec<Candidate>,
    pub skipped: Vec<Skipped>,
    pub remarks: Vec<String>,
    /// The index that is pushed as it is.
    pub index: Option<StoredIndex>,
    /// The indexes below `index.json`, and the manifests in all indexes that are no images.
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
            read => read.map(|()| Form::OciLayout)?,
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

struct Resolver<'a> {
    documents: &'a mut dyn Documents,
    links: &'a Links,
    limits: &'a ArchiveLimits,
    rules: &'a Rules,
    found: Vec<Candidate>,
    skipped: Vec<Skipped>,
    nested: Vec<Nested>,
    beside: Vec<Beside>,
    /// Manifests and indexes read so far.
    read: usize,
    /// The layout lacks a document, or layers that its configuration has.
    lacks: bool,
}

/// A descriptor that was not looked at yet.
struct Waiting {
    descriptor: Descriptor,
    names: Vec<String>,
    depth: usize,
    nested: Option<Digest>,
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

    fn few_layers(&self, path: &str, layers: usize) -> Result<(), ArchiveError> {
        if layers <= self.limits.layers {
            return Ok(());
        }
        Err(ArchiveError::TooMuch {
            what: format!("the number of layers of the image {}", shown(path.as_bytes())),
            limit: self.limits.layers.to_string(),
            advice: "; build it with fewer steps",
        })
    }

    fn skip(&mut self, what: String, why: &str) {
        self.skipped.push(Skipped { what, why: why.to_owned() });
    }

    /// A document that an index names, or `None` if the archive leaves it out: an index may list platforms that were not
    /// saved. `missing` gets the error, in case that nothing else is there.
    fn listed(
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

    fn saved(&mut self) -> Result<(), ArchiveError> {
        let bytes = self.need("the manifest", "manifest.json")?;
        for saved in parse::<Vec<Saved>>("the manifest", "manifest.json", &bytes)? {
            self.count()?;
            let path = clean(saved.config.as_bytes())?;
            let config = self.need("the configuration", &path)?;
            let digest = Digest::of(&config);
            layer::check(&path, config_digest(&path), digest)?;
            self.few_layers(&path, saved.layers.len())?;
            let listed =
                |name: &String| Ok(Listed { path: clean(name.as_bytes())?, blob: None, size: None, encoding: None });
            let layers = saved.layers.iter().map(listed).collect::<Result<_, ArchiveError>>()?;
            self.candidate(&path, config, digest, layers, saved.repo_tags)?;
        }
        Ok(())
    }

    fn layout(&mut self) -> Result<(), ArchiveError> {
        let bytes = self.need("the index", "index.json")?;
        let top: Index = parse("the index", "index.json", &bytes)?;
        let mut first: Vec<Waiting> = Vec::new();
        for descriptor in self.few(top)? {
            let names = own_names(&descriptor);
            match first.iter_mut().find(|same| same.descriptor.digest == descriptor.digest) {
                Some(same) => same.names.extend(names),
                None => first.push(Waiting { descriptor, names, depth: 0, nested: None }),
            }
        }
        // The stack is reversed so that images keep the order of the index.
        let mut waiting: Vec<_> = first.into_iter().rev().collect();
        let mut seen = HashSet::new();
        let mut missing = Ok(());
        while let Some(next) = waiting.pop() {
            let Waiting { descriptor, mut names, depth, nested } = next;
            if depth > 0 {
                names.extend(own_names(&descriptor));
            }
            if let Some(why) = artifact(&descriptor, &[]) {
                self.beside.push(Beside { digest: descriptor.digest, media_type: descriptor.media_type, why, nested });
                continue;
            }
            let claimed = descriptor.platform.as_ref().filter(|claimed| !claimed.architecture.is_empty());
            if let Some(platform) = claimed.map(|c| c.platform()).filter(|platform| !self.rules.wants(platform)) {
                self.skip(descriptor.digest.to_string(), &format!("it is for {platform}"));
                continue;
            }
            if !seen.insert(descriptor.digest) {
                continue;
            }
            self.count()?;
            let path = blob_path(&descriptor.digest);
            let Some(bytes) = self.listed("the manifest", &descriptor.digest, &path, &mut missing)? else { continue };
            if !is_index(&descriptor.media_type, &bytes) {
                self.manifest(&path, descriptor, bytes, names, nested, &mut missing)?;
                continue;
            }
            if depth >= MAX_DEPTH {
                return Err(ArchiveError::Bad(format!(
                    "the indexes of the archive refer to each other more than {MAX_DEPTH} deep; save the image alone"
                )));
            }
            let index: Index = parse("the index", &path, &bytes)?;
            let media_type = [&index.media_type, &descriptor.media_type].into_iter().find(|text| !text.is_empty());
            let media_type = media_type.map_or(OCI_INDEX, String::as_str).to_owned();
            let inner = self.few(index)?;
            let own = (depth == 0).then_some(descriptor.digest);
            if depth == 0 {
                let index = StoredManifest { bytes, digest: descriptor.digest, media_type };
                self.nested.push(Nested { index, entries: inner.iter().map(|inner| inner.digest).collect() });
            }
            waiting.extend(inner.into_iter().rev().map(|descriptor| Waiting {
                descriptor,
                names: names.clone(),
                depth: depth.saturating_add(1),
                nested: own,
            }));
        }
        // A missing one is ignored only if there are others.
        if self.found.is_empty() { missing } else { Ok(()) }
    }

    fn manifest(
        &mut self,
        path: &str,
        descriptor: Descriptor,
        bytes: Bytes,
        names: Vec<String>,
        nested: Option<Digest>,
        missing: &mut Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let manifest: Manifest = parse("the manifest", path, &bytes)?;
        let config_type = manifest.config.media_type;
        let media_type = [manifest.media_type, descriptor.media_type.clone(), OCI_MANIFEST.to_owned()];
        let media_type = media_type.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        let why = match artifact(&descriptor, &manifest.layers) {
            None if !is_image_config(&config_type) => Some("it is no container image".to_owned()),
            why => why,
        };
        if let Some(why) = why {
            self.beside.push(Beside { digest: descriptor.digest, media_type, why, nested });
            return Ok(());
        }
        self.few_layers(path, manifest.layers.len())?;
        let config_path = blob_path(&manifest.config.digest);
        let config = self.listed("the configuration", &descriptor.digest, &config_path, missing)?;
        let Some(config) = config else { return Ok(()) };
        let listed = |layer: &Descriptor| {
            let encoding = layer_encoding(&layer.media_type).ok_or_else(|| {
                let kind = shown(layer.media_type.as_bytes());
                ArchiveError::Bad(format!(
                    "the layer {} has the media type {kind}, which no container can use; save the image again",
                    layer.digest
                ))
            })?;
            let path = blob_path(&layer.digest);
            Ok(Listed { path, blob: Some(layer.digest), size: Some(layer.size), encoding: Some(encoding) })
        };
        let layers = manifest.layers.iter().map(listed).collect::<Result<_, ArchiveError>>()?;
        let candidate = self.candidate(&config_path, config, manifest.config.digest, layers, names)?;
        let claimed = descriptor.platform.as_ref().filter(|claimed| !claimed.architecture.is_empty());
        if let Some(platform) = claimed.map(|c| c.platform()).filter(|platform| !platform.takes(&candidate.platform)) {
            return Err(ArchiveError::Bad(format!(
                "the index says that {} is for {platform}, its configuration says {}; build the image again with the \
                 platform it is for",
                descriptor.digest, candidate.platform
            )));
        }
        candidate.config_media_type = Some(config_type);
        // Longer annotations stay in the manifest only.
        let length = |(key, value): (&String, &String)| key.len().saturating_add(value.len());
        if manifest.annotations.iter().map(length).sum::<usize>() <= MAX_TEXT_BYTES {
            candidate.annotations = manifest.annotations;
        }
        candidate.manifest = Some(StoredManifest { bytes, digest: descriptor.digest, media_type });
        candidate.nested = nested;
        Ok(())
    }

    fn candidate(
        &mut self,
        path: &str,
        bytes: Bytes,
        config_digest: Digest,
        layers: Vec<Listed>,
        names: Vec<String>,
    ) -> Result<&mut Candidate, ArchiveError> {
        let config: Config = parse("the configuration", path, &bytes)?;
        let diff_ids = config.rootfs.diff_ids;
        self.few_layers(path, layers.len())?;
        let path = shown(path.as_bytes());
        if diff_ids.len() != layers.len() {
            self.lacks |= layers.len() < diff_ids.len();
            return Err(ArchiveError::Bad(format!(
                "the manifest lists {} layers, the configuration {path} {}; save the image again",
                layers.len(),
                diff_ids.len()
            )));
        }
        let run = config.config;
        let entry_point = EntryPoint {
            entrypoint: run.entrypoint.list,
            cmd: run.cmd.list,
            user: run.user,
            working_dir: run.working_dir,
        };
        let words = entry_point.entrypoint.iter().chain(&entry_point.cmd).map(String::len).sum::<usize>();
        if words > MAX_TEXT_BYTES || entry_point.user.len().max(entry_point.working_dir.len()) > self.limits.path_bytes
        {
            return Err(ArchiveError::Bad(format!(
                "the configuration {path} has an entry point, user or working folder longer than any system takes; build it \
                 again with shorter ones"
            )));
        }
        let mut known = HashSet::new();
        let names = names.into_iter().filter(|name| is_name(name) && known.insert(name.clone()));
        let platform = Platform::claimed(&config.os, &config.architecture, config.variant.as_deref());
        let candidate = Candidate {
            config: bytes,
            config_digest,
            config_media_type: None,
            platform,
            entry_point,
            diff_ids,
            layers,
            names: names.take(MAX_NAMES).collect(),
            manifest: None,
            annotations: BTreeMap::new(),
            nested: None,
            text_command: run.entrypoint.text || run.cmd.text,
        };
        Ok(self.found.push_mut(candidate))
    }
}
