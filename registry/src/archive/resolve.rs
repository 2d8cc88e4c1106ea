//! Turns the documents of an archive into the images that it declares. Does not look at layers.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;

use super::documents::{Documents, Found, need};
use super::json::{ClaimedPlatform, Config, Descriptor, Index, Manifest, Saved, parse};
use super::paths::{Links, blob_path, clean, config_digest};
use super::{ArchiveError, Form, Skipped, layer};
use crate::compress::Encoding;
use crate::digest::Digest;
use crate::image::{EntryPoint, Platform, StoredManifest};
use crate::limits::{ArchiveLimits, Rules};
use crate::tar::shown;

/// The deepest nesting of indexes.
const MAX_DEPTH: usize = 4;
/// Bounds of one image: its names, and the bytes of its entry point, environment, labels and annotations.
const MAX_NAMES: usize = 64;
const MAX_TEXT_BYTES: usize = 128 << 10;
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

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
}

/// A layer as a manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub path: String,
    pub blob: Option<Digest>,
    pub size: Option<u64>,
    pub encoding: Option<Encoding>,
}

#[derive(Debug)]
pub(super) struct Resolved {
    pub form: Form,
    pub candidates: Vec<Candidate>,
    pub skipped: Vec<Skipped>,
}

pub(super) fn resolve(
    documents: &mut dyn Documents,
    links: &Links,
    limits: &ArchiveLimits,
    rules: &Rules,
) -> Result<Resolved, ArchiveError> {
    let mut resolver = Resolver { documents, links, limits, rules, found: Vec::new(), skipped: Vec::new(), read: 0 };
    let form = if !matches!(resolver.documents.find("index.json")?, Found::Missing) {
        resolver.layout()?;
        Form::OciLayout
    } else if !matches!(resolver.documents.find("manifest.json")?, Found::Missing) {
        resolver.saved()?;
        Form::DockerSave
    } else {
        return Err(ArchiveError::NotAnArchive {
            looks: "is a tar archive with neither `manifest.json` nor `index.json` (what `docker export` writes is a \
                    file system, not an image)",
        });
    };
    Ok(Resolved { form, candidates: resolver.found, skipped: resolver.skipped })
}

struct Resolver<'a> {
    documents: &'a mut dyn Documents,
    links: &'a Links,
    limits: &'a ArchiveLimits,
    rules: &'a Rules,
    found: Vec<Candidate>,
    skipped: Vec<Skipped>,
    /// Manifests and indexes read so far.
    read: usize,
}

impl Resolver<'_> {
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

    fn saved(&mut self) -> Result<(), ArchiveError> {
        let bytes = self.need("the manifest", "manifest.json")?;
        for saved in parse::<Vec<Saved>>("the manifest", "manifest.json", &bytes)? {
            self.count()?;
            let path = clean(saved.config.as_bytes())?;
            let config = self.need("the configuration", &path)?;
            let digest = Digest::of(&config);
            layer::check(&path, config_digest(&path), digest)?;
            let layers = saved.layers.unwrap_or_default();
            self.few_layers(&path, layers.len())?;
            let listed =
                |name: &String| Ok(Listed { path: clean(name.as_bytes())?, blob: None, size: None, encoding: None });
            let layers = layers.iter().map(listed).collect::<Result<_, ArchiveError>>()?;
            let names = saved.repo_tags.unwrap_or_default();
            self.candidate(&path, config, digest, layers, names)?;
        }
        Ok(())
    }

    fn layout(&mut self) -> Result<(), ArchiveError> {
        let bytes = self.need("the index", "index.json")?;
        let top: Index = parse("the index", "index.json", &bytes)?;
        let mut first: Vec<(Descriptor, Vec<String>, usize)> = Vec::new();
        for descriptor in self.few(top)? {
            let names = own_names(&descriptor);
            match first.iter_mut().find(|(same, ..)| same.digest == descriptor.digest) {
                Some((_, known, _)) => known.extend(names),
                None => first.push((descriptor, names, 0)),
            }
        }
        // The stack is reversed so that images keep the order of the index.
        let mut waiting: Vec<_> = first.into_iter().rev().collect();
        let mut seen = HashSet::new();
        let mut missing = Ok(());
        while let Some((descriptor, mut names, depth)) = waiting.pop() {
            if depth > 0 {
                names.extend(own_names(&descriptor));
            }
            let annotations = descriptor.annotations.as_ref();
            let path = blob_path(&descriptor.digest);
            let shown = descriptor.digest.to_string();
            if annotations.is_some_and(|annotations| annotations.contains_key(REFERENCE_TYPE)) {
                self.skip(shown, "it is an attestation");
                continue;
            }
            if let Some(platform) = descriptor.platform.as_ref().filter(|platform| !self.is_wanted(platform)) {
                let why = format!("it is for {}", claimed(platform));
                self.skip(shown, &why);
                continue;
            }
            if !seen.insert(descriptor.digest) {
                continue;
            }
            self.count()?;
            // An index may list platforms that were not saved.
            let bytes = match self.need("the manifest", &path) {
                Err(error @ ArchiveError::Bad(_))
                    if depth > 0 && matches!(self.documents.find(&path)?, Found::Missing) =>
                {
                    self.skip(shown, "it is not in the archive");
                    missing = missing.and(Err(error));
                    continue;
                }
                bytes => bytes?,
            };
            if is_index(&descriptor.media_type, &bytes) {
                if depth >= MAX_DEPTH {
                    return Err(ArchiveError::Bad(format!(
                        "the indexes of the archive refer to each other more than {MAX_DEPTH} deep; save the image alone"
                    )));
                }
                let index: Index = parse("the index", &path, &bytes)?;
                let next = depth.saturating_add(1);
                let inner = self.few(index)?;
                waiting.extend(inner.into_iter().rev().map(|inner| (inner, names.clone(), next)));
            } else {
                self.manifest(&path, &descriptor, bytes, names)?;
            }
        }
        // A missing one is ignored only if there are others.
        if self.found.is_empty() { missing } else { Ok(()) }
    }

    fn is_wanted(&self, platform: &ClaimedPlatform) -> bool {
        let platform = claimed(platform);
        match &self.rules.platform {
            Some(wanted) => wanted.takes(&platform),
            None => self.rules.accepted.is_empty() || self.rules.accepted.iter().any(|one| one.takes(&platform)),
        }
    }

    fn manifest(
        &mut self,
        path: &str,
        descriptor: &Descriptor,
        bytes: Bytes,
        names: Vec<String>,
    ) -> Result<(), ArchiveError> {
        let manifest: Manifest = parse("the manifest", path, &bytes)?;
        let config_type = manifest.config.media_type;
        if !is_image_config(&config_type) {
            self.skip(descriptor.digest.to_string(), "it is no container image");
            return Ok(());
        }
        self.few_layers(path, manifest.layers.len())?;
        let config_path = blob_path(&manifest.config.digest);
        let config = self.need("the configuration", &config_path)?;
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
        let media_type = manifest.media_type.unwrap_or_else(|| descriptor.media_type.clone());
        let candidate = self.candidate(&config_path, config, manifest.config.digest, layers, names)?;
        if let Some(platform) = descriptor.platform.as_ref().map(claimed).filter(|p| !p.takes(&candidate.platform)) {
            return Err(ArchiveError::Bad(format!(
                "the index says that {} is for {platform}, its configuration says {}; build the image again with the \
                 platform it is for",
                descriptor.digest, candidate.platform
            )));
        }
        candidate.config_media_type = Some(config_type);
        // Longer annotations stay in the manifest only.
        let length = |all: &BTreeMap<String, String>| -> usize {
            all.iter().map(|(key, value)| key.len().saturating_add(value.len())).sum()
        };
        candidate.annotations = manifest.annotations.filter(|all| length(all) <= MAX_TEXT_BYTES).unwrap_or_default();
        candidate.manifest = Some(StoredManifest { bytes, digest: descriptor.digest, media_type });
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
        let diff_ids = config.rootfs.diff_ids.unwrap_or_default();
        self.few_layers(path, layers.len())?;
        let path = shown(path.as_bytes());
        if diff_ids.len() != layers.len() {
            return Err(ArchiveError::Bad(format!(
                "the manifest lists {} layers, the configuration {path} {}; save the image again",
                layers.len(),
                diff_ids.len()
            )));
        }
        let run = config.config.unwrap_or_default();
        let entry_point = EntryPoint {
            entrypoint: run.entrypoint.unwrap_or_default(),
            cmd: run.cmd.unwrap_or_default(),
            user: run.user.unwrap_or_default(),
            working_dir: run.working_dir.unwrap_or_default(),
        };
        let words = entry_point.entrypoint.iter().chain(&entry_point.cmd).map(String::len).sum::<usize>();
        if words > MAX_TEXT_BYTES || entry_point.user.len().max(entry_point.working_dir.len()) > self.limits.path_bytes
        {
            return Err(ArchiveError::Bad(format!(
                "the configuration {path} has an entry point, user or working folder longer than any system takes; build it \
                 again with shorter ones"
            )));
        }
        let platform =
            claimed(&ClaimedPlatform { os: config.os, architecture: config.architecture, variant: config.variant });
        let candidate = Candidate {
            config: bytes,
            config_digest,
            config_media_type: None,
            platform,
            entry_point,
            diff_ids,
            layers,
            names: names.into_iter().filter(|name| is_name(name)).take(MAX_NAMES).collect(),
            manifest: None,
            annotations: BTreeMap::new(),
        };
        Ok(self.found.push_mut(candidate))
    }
}

/// The names in a descriptor.
fn own_names(descriptor: &Descriptor) -> Vec<String> {
    let annotations = descriptor.annotations.as_ref();
    let named = |key: &&str| annotations.and_then(|annotations| annotations.get(*key));
    let mut names: Vec<String> = NAMES.iter().filter_map(named).filter(|name| is_name(name)).cloned().collect();
    names.dedup();
    names
}

/// Names are displayed and compared, so invalid ones are dropped.
fn is_name(name: &str) -> bool {
    (1..=300).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn claimed(platform: &ClaimedPlatform) -> Platform {
    let word = |text: &str| {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let good = (1..=32).contains(&text.len()) && text.bytes().all(good);
        if good { text.to_owned() } else { "unknown".to_owned() }
    };
    let variant = platform.variant.as_deref().filter(|variant| !variant.is_empty()).map(word);
    Platform::new(&word(&platform.os), &word(&platform.architecture), variant.as_deref())
}

fn is_index(media_type: &str, bytes: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Look {
        manifests: Option<serde::de::IgnoredAny>,
    }
    match media_type {
        "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json" => true,
        "" => serde_json::from_slice::<Look>(bytes).is_ok_and(|look| look.manifests.is_some()),
        _ => false,
    }
}

fn is_image_config(media_type: &str) -> bool {
    matches!(media_type, "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json")
}

/// The encoding for a layer's media type; `None` for any other media type.
fn layer_encoding(media_type: &str) -> Option<Encoding> {
    let kind = media_type
        .strip_prefix("application/vnd.oci.image.layer.v1.")
        .or_else(|| media_type.strip_prefix("application/vnd.oci.image.layer.nondistributable.v1."))
        .or_else(|| media_type.strip_prefix("application/vnd.docker.image.rootfs.diff."))
        .or_else(|| media_type.strip_prefix("application/vnd.docker.image.rootfs.foreign.diff."))?;
    match kind {
        "tar" => Some(Encoding::Plain),
        "tar+gzip" | "tar.gzip" => Some(Encoding::Gzip),
        "tar+zstd" | "tar.zstd" => Some(Encoding::Zstd),
        _ => None,
    }
}
