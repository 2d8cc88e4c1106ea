//! Builds the manifest of an image whose layers are in the registry: the archive's own bytes if every layer is stored
//! unchanged, which keeps the digest, else a new OCI manifest. Deterministic and pure.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::sink::Arrived;
use crate::client::documents::{
    Descriptor, ImageIndex, ImageManifest, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, PlatformOf,
};
use crate::digest::Digest;
use crate::image::{Image, LayerRef};

pub(super) struct Made {
    pub bytes: Bytes,
    pub media_type: String,
    pub digest: Digest,
    /// Total bytes of the image to transfer.
    pub size: u64,
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
}

/// `None` if a layer never arrived, which the reader rules out.
pub(super) fn image(image: &Image, layers: &Layers<'_>) -> Option<Made> {
    let arrived: Vec<&Arrived> = image.layers.iter().map(|layer| layers.of(layer)).collect::<Option<_>>()?;
    let size = arrived.iter().map(|layer| layer.size).sum::<u64>() + image.config.len() as u64;
    let unchanged = image.layers.iter().zip(&arrived).all(|(layer, arrived)| layer.blob == arrived.digest);
    if let Some(stored) = image.manifest.as_ref().filter(|_| unchanged) {
        let (bytes, media_type, digest) = (stored.bytes.clone(), stored.media_type.clone(), stored.digest);
        return Some(Made { bytes, media_type, digest, size });
    }
    let descriptor = |media_type: &str, digest, size| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: BTreeMap::new(),
    };
    // A docker manifest with a recompressed layer becomes an OCI manifest. The others keep docker's types.
    let docker = image.manifest.as_ref().is_some_and(|stored| stored.media_type.contains("docker"));
    let layer = |(layer, arrived): (&LayerRef, &&Arrived)| {
        let as_it_came = docker && layer.blob == arrived.digest;
        let docker_type = arrived.encoding.docker_layer_media_type().filter(|_| as_it_came);
        descriptor(docker_type.unwrap_or(arrived.encoding.layer_media_type()), arrived.digest, arrived.size)
    };
    let config_type = image.config_media_type.as_deref().filter(|_| image.manifest.is_some()).unwrap_or(OCI_CONFIG);
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: OCI_MANIFEST.to_owned(),
        config: descriptor(config_type, image.config_digest, image.config.len() as u64),
        layers: image.layers.iter().zip(&arrived).map(layer).collect(),
        annotations: image.annotations.clone(),
    };
    let bytes = Bytes::from(serde_json::to_vec(&manifest).ok()?);
    Some(Made { digest: Digest::of(&bytes), bytes, media_type: OCI_MANIFEST.to_owned(), size })
}

/// The index of several images.
pub(super) fn index(images: &[(&Image, &Made)]) -> Option<Made> {
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
    let index = ImageIndex {
        schema_version: 2,
        media_type: OCI_INDEX.to_owned(),
        manifests: images.iter().map(entry).collect(),
    };
    let bytes = Bytes::from(serde_json::to_vec(&index).ok()?);
    let size = images.iter().map(|(_, made)| made.size).sum();
    Some(Made { digest: Digest::of(&bytes), bytes, media_type: OCI_INDEX.to_owned(), size })
}
