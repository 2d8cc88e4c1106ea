//! An image as the documents of an archive describe it: its manifest, if there is one, and its configuration. Does not look
//! at its layers.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;

use super::ArchiveError;
use super::json::{Config, Descriptor, Manifest, parse};
use super::kinds::{artifact, is_foreign, is_image_config, is_name, layer_encoding};
use super::paths::blob_path;
use super::resolve::{Resolver, Waiting};
use super::whole::Beside;
use crate::client::documents::OCI_MANIFEST;
use crate::compress::Encoding;
use crate::digest::Digest;
use crate::image::{EntryPoint, Platform, StoredManifest};
use crate::shown::shown;

/// Bounds of one image: its names, and the bytes of its entry point, environment, labels and annotations.
const MAX_NAMES: usize = 64;
const MAX_WAYS: usize = 64;
const MAX_TEXT_BYTES: usize = 128 << 10;

/// An image as its documents describe it.
#[derive(Debug)]
pub(super) struct Candidate {
    pub config: Bytes,
    pub config_digest: Digest,
    pub config_media_type: Option<String>,
    pub platform: Platform,
    pub entry_point: EntryPoint,
    pub diff_ids: Vec<Digest>,
    pub layers: Vec<Listed>,
    pub names: Vec<String>,
    pub manifest: Option<StoredManifest>,
    pub annotations: BTreeMap<String, String>,
    /// All ways to it, in the order of the archive. Empty for an image of `manifest.json`.
    pub ways: Vec<Way>,
    /// Its entry point or its command is a text, where a list has to be.
    pub text_command: bool,
}

impl Candidate {
    /// True if this is the digest of its manifest, its index or its configuration.
    pub(super) fn has_digest(&self, digest: &Digest) -> bool {
        self.config_digest == *digest || self.is_below(digest) || self.has_manifest(digest)
    }

    pub(super) fn has_manifest(&self, digest: &Digest) -> bool {
        self.manifest.as_ref().is_some_and(|manifest| manifest.digest == *digest)
    }

    /// True if this index leads to it.
    pub(super) fn is_below(&self, index: &Digest) -> bool {
        self.ways.iter().any(|way| way.below.contains(index))
    }

    /// Notes another way to it, with the names on it.
    fn add(&mut self, way: Way) {
        let new: Vec<String> = way.names.iter().filter(|name| !self.names.contains(name)).cloned().collect();
        let new: Vec<String> = new.into_iter().filter(|name| is_name(name)).collect();
        self.names.extend(new.into_iter().take(MAX_NAMES.saturating_sub(self.names.len())));
        if self.ways.len() < MAX_WAYS && !self.ways.contains(&way) {
            self.ways.push(way);
        }
    }

    /// Gives it further names on all of its ways.
    pub(super) fn name(&mut self, new: &[String]) {
        self.names.extend(new.iter().take(MAX_NAMES.saturating_sub(self.names.len())).cloned());
        for way in &mut self.ways {
            way.names.extend(new.iter().take(MAX_NAMES.saturating_sub(way.names.len())).cloned());
        }
    }

    /// Forgets the ways that a choice does not lead along, unless it leads along none.
    pub(super) fn keep_ways(&mut self, chosen: impl Fn(&Way) -> bool) {
        if self.ways.iter().any(&chosen) {
            self.ways.retain(chosen);
        }
    }

    /// True if nothing would run in it.
    pub(super) fn is_idle(&self) -> bool {
        self.entry_point.entrypoint.iter().chain(&self.entry_point.cmd).all(String::is_empty)
    }

    /// Remarks on it, for its owner.
    pub(super) fn remarks(&self) -> Vec<String> {
        let idle = self.is_idle().then(|| {
            format!(
                "the image for {} has neither ENTRYPOINT nor CMD: it is a base for others, and a deployment of it is refused",
                self.platform
            )
        });
        let text = self.text_command.then(|| {
            format!(
                "the image for {} has an ENTRYPOINT or CMD that is a text instead of a list, which containerd may refuse: \
                 build it with a current tool",
                self.platform
            )
        });
        idle.into_iter().chain(text).collect()
    }
}

/// A way from `index.json` to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    /// The names on the way, and its own.
    pub names: Vec<String>,
    /// The indexes on the way, the outermost first, without `index.json`.
    pub below: Vec<Digest>,
}

/// A layer as a manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub path: String,
    pub blob: Option<Digest>,
    pub size: Option<u64>,
    pub encoding: Option<Encoding>,
    /// Its owner does not let others pass it on; the manifest may have addresses of it instead.
    pub foreign: bool,
}

impl Listed {
    /// A layer of which nothing is known but its place.
    pub(super) fn at(path: String) -> Self {
        Self { path, blob: None, size: None, encoding: None, foreign: false }
    }

    /// A layer as a manifest of a layout describes it.
    fn by(layer: &Descriptor) -> Result<Self, ArchiveError> {
        let encoding = layer_encoding(&layer.media_type).ok_or_else(|| {
            let kind = shown(layer.media_type.as_bytes());
            ArchiveError::Bad(format!(
                "the layer {} has the media type {kind}, which no container can use; save the image again",
                layer.digest
            ))
        })?;
        Ok(Self {
            path: blob_path(&layer.digest),
            blob: Some(layer.digest),
            size: Some(layer.size),
            encoding: Some(encoding),
            foreign: is_foreign(&layer.media_type) || !layer.urls.is_empty(),
        })
    }
}

impl Resolver<'_> {
    /// Reads a manifest: an image's, or an artifact's that lies beside one.
    pub(super) fn manifest(
        &mut self,
        path: &str,
        named: Waiting,
        bytes: Bytes,
        missing: &mut Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let Waiting { descriptor, names, below } = named;
        let manifest: Manifest = parse("the manifest", path, &bytes)?;
        let config_type = manifest.config.media_type;
        let media_type = [manifest.media_type, descriptor.media_type.clone(), OCI_MANIFEST.to_owned()];
        let media_type = media_type.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        let why = match artifact(&descriptor, &manifest.layers) {
            None if !is_image_config(&config_type) => Some("it is no container image".to_owned()),
            why => why,
        };
        if let Some(why) = why {
            self.beside.push(Beside { digest: descriptor.digest, media_type, why, nested: below.last().copied() });
            return Ok(());
        }
        self.few_layers(path, manifest.layers.len())?;
        let config_path = blob_path(&manifest.config.digest);
        let config = self.listed("the configuration", &descriptor.digest, &config_path, missing)?;
        let Some(config) = config else { return Ok(()) };
        let layers = manifest.layers.iter().map(Listed::by).collect::<Result<_, ArchiveError>>()?;
        let named = names.clone();
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
        candidate.ways = vec![Way { names: named, below }];
        Ok(())
    }

    /// Another way to a manifest that was read before: an index may come before or after the images that it names.
    pub(super) fn again(&mut self, digest: Digest, way: Way) {
        if let Some(candidate) = self.found.iter_mut().find(|candidate| candidate.has_manifest(&digest)) {
            candidate.add(way);
            return;
        }
        let nested = way.below.last().copied();
        let Some(known) = self.beside.iter().find(|beside| beside.digest == digest) else { return };
        if nested != known.nested {
            self.beside.push(Beside { nested, ..known.clone() });
        }
    }

    /// Adds an image by its configuration.
    pub(super) fn candidate(
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
            ways: Vec::new(),
            text_command: run.entrypoint.text || run.cmd.text,
        };
        Ok(self.found.push_mut(candidate))
    }
}
