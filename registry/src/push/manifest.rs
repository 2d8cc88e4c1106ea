//! Builds the manifest of an image whose layers are in the registry: the archive's own bytes if every layer is stored
//! unchanged, which keeps the digest, else a new one. Each can be made in OCI's form and in docker's. Deterministic and
//! pure.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde::Serialize;

use super::sink::Arrived;
use crate::client::documents::{
    DOCKER_CONFIG, DOCKER_LIST, DOCKER_MANIFEST, Descriptor, ImageIndex, ImageManifest, OCI_CONFIG, OCI_INDEX,
    OCI_MANIFEST, PlatformOf,
};
use crate::digest::Digest;
use crate::image::{Image, LayerRef, StoredManifest};

/// The form of a manifest. The content is the same in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Oci,
    /// Docker's schema 2.
    Docker,
}

impl Form {
    pub(super) fn of(media_type: &str) -> Self {
        if media_type.starts_with("application/vnd.docker.") { Self::Docker } else { Self::Oci }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::Oci => Self::Docker,
            Self::Docker => Self::Oci,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Oci => "OCI",
            Self::Docker => "docker schema 2",
        }
    }
}

pub(super) struct Made {
    pub bytes: Bytes,
    pub media_type: String,
    pub digest: Digest,
    /// Total bytes of the image to transfer.
    pub size: u64,
}

impl Made {
    fn new(document: &impl Serialize, media_type: &str, size: u64) -> Option<Self> {
        let bytes = Bytes::from(serde_json::to_vec(document).ok()?);
        Some(Self { digest: Digest::of(&bytes), bytes, media_type: media_type.to_owned(), size })
    }

    pub(super) fn stored(stored: &StoredManifest, size: u64) -> Self {
        let (bytes, media_type, digest) = (stored.bytes.clone(), stored.media_type.clone(), stored.digest);
        Self { bytes, media_type, digest, size }
    }
}

/// Layers by their digest in the archive.
pub(super) struct Layers<'a>(HashMap<Digest, &'a Arrived>);

impl<'a> Layers<'a> {
    pub(super) fn new(arrived: &'a [Arrived]) -> Self {
        let mut map = HashMap::new();
        for layer in arrived {
            map.insert(layer.blob, layer);
            map.entry(layer.diff_id).or_insert(layer);
        }
        Self(map)
    }

    pub(super) fn of(&self, layer: &LayerRef) -> Option<&'a Arrived> {
        self.0.get(&layer.blob).or_else(|| self.0.get(&layer.diff_id)).copied()
    }

    /// The layers of an image in order. `None` if one never arrived, which the reader rules out.
    fn all(&self, image: &Image) -> Option<Vec<&'a Arrived>> {
        image.layers.iter().map(|layer| self.of(layer)).collect()
    }
}

fn size(image: &Image, arrived: &[&Arrived]) -> u64 {
    arrived.iter().map(|layer| layer.size).sum::<u64>() + image.config.len() as u64
}

/// The manifest as the archive has it, if all layers are stored as it has them.
pub(super) fn unchanged(image: &Image, layers: &Layers<'_>) -> Option<Made> {
    let arrived = layers.all(image)?;
    let stored = image.manifest.as_ref()?;
    let same = image.layers.iter().zip(&arrived).all(|(layer, arrived)| layer.blob == arrived.digest);
    same.then(|| Made::stored(stored, size(image, &arrived)))
}

/// A new manifest. `None` if docker's form has no type for a layer's compression.
pub(super) fn image(image: &Image, layers: &Layers<'_>, form: Form) -> Option<Made> {
    let arrived = layers.all(image)?;
    let descriptor = |media_type: &str, digest, size| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: BTreeMap::new(),
    };
    let layer = |arrived: &&Arrived| {
        let media_type = match form {
            Form::Oci => arrived.encoding.layer_media_type(),
            Form::Docker => arrived.encoding.docker_layer_media_type()?,
        };
        Some(descriptor(media_type, arrived.digest, arrived.size))
    };
    let own_type = image.config_media_type.as_deref().filter(|own| image.manifest.is_some() && *own != DOCKER_CONFIG);
    let (media_type, config_type, annotations) = match form {
        Form::Oci => (OCI_MANIFEST, own_type.unwrap_or(OCI_CONFIG), image.annotations.clone()),
        Form::Docker => (DOCKER_MANIFEST, DOCKER_CONFIG, BTreeMap::new()),
    };
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: media_type.to_owned(),
        config: descriptor(config_type, image.config_digest, image.config.len() as u64),
        layers: arrived.iter().map(layer).collect::<Option<_>>()?,
        annotations,
    };
    Made::new(&manifest, media_type, size(image, &arrived))
}

/// The index of several images, which all have the same form.
pub(super) fn index(images: &[(&Image, &Made)], form: Form) -> Option<Made> {
    let entry = |(image, made): &(&Image, &Made)| Descriptor {
        media_type: made.media_type.clone(),
        digest: made.digest,
        size: made.bytes.len() as u64,
        platform: Some(PlatformOf {
            architecture: image.platform.architecture.clone(),
            os: image.platform.os.clone(),
            variant: image.platform.variant.clone(),
        }),
        annotations: BTreeMap::new(),
    };
    let media_type = match form {
        Form::Oci => OCI_INDEX,
        Form::Docker => DOCKER_LIST,
    };
    let manifests = images.iter().map(entry).collect();
    let index = ImageIndex { schema_version: 2, media_type: media_type.to_owned(), manifests };
    Made::new(&index, media_type, images.iter().map(|(_, made)| made.size).sum())
}
