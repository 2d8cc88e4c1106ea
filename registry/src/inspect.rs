//! Describes an image, from a registry or an archive, without pushing or pulling its layers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::archive::{Archive, ArchiveError, ArchiveSource, LayerEnd, LayerStart, Sink, SinkError, Want, read_archive};
use crate::client::error::ClientError;
use crate::client::{Client, Resolved};
use crate::digest::Digest;
use crate::image::Platform;
use crate::limits::{ArchiveLimits, Rules};

/// One image, or one per platform.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// Digest of the manifest or the index. A `docker save` archive has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    pub images: Vec<Inspected>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Inspected {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    pub config_digest: Digest,
    pub config: Config,
    pub layers: Vec<InspectedLayer>,
}

#[derive(Debug, Clone, Serialize)]
pub struct InspectedLayer {
    /// As stored in the registry or the archive.
    pub digest: Digest,
    pub size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<Digest>,
}

/// The contents of an image's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Config {
    pub platform: String,
    pub created: Option<String>,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub user: String,
    pub working_dir: String,
    /// Names only, because values may be secret.
    pub env: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub exposed_ports: Vec<String>,
    pub diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct Document {
    architecture: String,
    os: String,
    variant: Option<String>,
    created: Option<String>,
    #[serde(default)]
    config: Option<Inner>,
    #[serde(default)]
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Inner {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
    env: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
}

#[derive(Default, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<Digest>,
}

impl Config {
    /// # Errors
    /// The bytes are not an image's configuration, for example a Helm chart's.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(bytes).map_err(|error| {
            format!("not an image's configuration (line {}, column {})", error.line(), error.column())
        })?;
        let inner = document.config.unwrap_or_default();
        let name = |text: String| text.split_once('=').map_or(text.clone(), |(name, _)| name.to_owned());
        Ok(Self {
            platform: Platform::new(&document.os, &document.architecture, document.variant.as_deref()).to_string(),
            created: document.created,
            entrypoint: inner.entrypoint.unwrap_or_default(),
            cmd: inner.cmd.unwrap_or_default(),
            user: inner.user.unwrap_or_default(),
            working_dir: inner.working_dir.unwrap_or_default(),
            env: inner.env.unwrap_or_default().into_iter().map(name).collect(),
            labels: inner.labels.unwrap_or_default(),
            exposed_ports: inner.exposed_ports.unwrap_or_default().into_keys().collect(),
            diff_ids: document.rootfs.diff_ids,
        })
    }
}

/// The image that a reference currently resolves to.
///
/// # Errors
/// The registry or the connection failed, or the reference is not an image.
pub async fn reference(client: &Client) -> Result<Inspection, ClientError> {
    let Resolved { manifest, images } = client.resolve().await?;
    let single = images.len() == 1;
    let inspect = |image: &crate::client::ResolvedImage| {
        let config = Config::read(&image.config).map_err(|why| client.no_image(&why))?;
        let diff_id = |at: usize| config.diff_ids.get(at).copied();
        let layers = image.layers.iter().enumerate();
        let layers =
            layers.map(|(at, layer)| InspectedLayer { digest: layer.digest, size: layer.size, diff_id: diff_id(at) });
        Ok(Inspected {
            digest: Some(image.manifest.digest).filter(|_| !single),
            config_digest: image.config_digest,
            layers: layers.collect(),
            config,
        })
    };
    Ok(Inspection {
        digest: Some(manifest.digest),
        media_type: Some(manifest.media_type),
        images: images.iter().map(inspect).collect::<Result<_, ClientError>>()?,
        names: Vec::new(),
        notes: Vec::new(),
    })
}

/// Reads a whole archive as a push would, and keeps nothing. Blocking.
///
/// # Errors
/// The archive is invalid.
pub fn archive(source: ArchiveSource, limits: &ArchiveLimits, rules: &Rules) -> Result<Inspection, ArchiveError> {
    let Archive { images, skipped, unreferenced, .. } = read_archive(source, limits, rules, &mut Nowhere)?;
    let notes = skipped.iter().map(|skipped| format!("{}: {}", skipped.what, skipped.why));
    let unused = unreferenced.iter().map(|layer| format!("{}: no image uses this layer", layer.name));
    let notes = notes.chain(unused).collect();
    let names = images.iter().flat_map(|image| image.names.clone()).collect();
    let inspect = |image: &crate::image::Image| {
        let layer = |layer: &crate::image::LayerRef| InspectedLayer {
            digest: layer.blob,
            size: layer.size,
            diff_id: Some(layer.diff_id),
        };
        Ok(Inspected {
            digest: image.manifest.as_ref().map(|manifest| manifest.digest),
            config_digest: image.config_digest,
            config: Config::read(&image.config).map_err(ArchiveError::Bad)?,
            layers: image.layers.iter().map(layer).collect(),
        })
    };
    let images = images.iter().map(inspect).collect::<Result<_, ArchiveError>>()?;
    Ok(Inspection { digest: None, media_type: None, images, names, notes })
}

struct Nowhere;

impl Sink for Nowhere {
    fn begin(&mut self, _: &LayerStart) -> Result<Want, SinkError> {
        Ok(Want::HashOnly)
    }

    fn bytes(&mut self, _: bytes::Bytes) -> Result<(), SinkError> {
        Ok(())
    }

    fn end(&mut self, _: &LayerEnd) -> Result<(), SinkError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_without_its_values() {
        let text = br#"{"architecture":"arm64","variant":"v8","os":"linux","config":{"Env":["A=hunter2","B"],
            "Entrypoint":null,"Cmd":["/agent"],"Labels":{"x":"y"},"ExposedPorts":{"80/tcp":{}}},"rootfs":{"type":"layers"}}"#;
        let config = Config::read(text).unwrap();
        assert_eq!((config.platform.as_str(), config.env.join(" ").as_str()), ("linux/arm64/v8", "A B"));
        assert_eq!(config.exposed_ports, ["80/tcp"]);
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(Config::read(br#"{"architecture":"a","os":"b"}"#).unwrap().entrypoint.is_empty());
        assert!(Config::read(b"{}").is_err() && Config::read(b"[1").is_err());
    }
}
