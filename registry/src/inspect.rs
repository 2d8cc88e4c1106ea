//! Describes an image, from a registry or an archive, without pushing or pulling its layers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::archive::{Archive, ArchiveError, ArchiveSource, LayerEnd, LayerStart, Sink, SinkError, Want, read_archive};
use crate::client::error::ClientError;
use crate::client::{Client, Resolved};
use crate::digest::Digest;
use crate::go::{Words, or_default, texts};
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
    /// Its names in an archive.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
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

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    #[serde(deserialize_with = "or_default")]
    architecture: String,
    #[serde(deserialize_with = "or_default")]
    os: String,
    variant: Option<String>,
    created: Option<String>,
    #[serde(deserialize_with = "or_default")]
    config: Inner,
    rootfs: Option<RootFs>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Inner {
    entrypoint: Words,
    cmd: Words,
    #[serde(deserialize_with = "or_default")]
    user: String,
    #[serde(deserialize_with = "or_default")]
    working_dir: String,
    env: Words,
    #[serde(deserialize_with = "texts")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    exposed_ports: BTreeMap<String, serde::de::IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RootFs {
    #[serde(deserialize_with = "or_default")]
    diff_ids: Vec<Digest>,
}

impl Config {
    /// # Errors
    /// The bytes are not an image's configuration, for example a Helm chart's.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(bytes).map_err(|error| {
            format!("not an image's configuration (line {}, column {})", error.line(), error.column())
        })?;
        if document.architecture.is_empty() && document.rootfs.is_none() {
            return Err("not an image's configuration (it has no architecture and no layers)".to_owned());
        }
        let inner = document.config;
        let name = |text: String| text.split_once('=').map_or(text.clone(), |(name, _)| name.to_owned());
        Ok(Self {
            platform: Platform::claimed(&document.os, &document.architecture, document.variant.as_deref()).to_string(),
            created: document.created,
            entrypoint: inner.entrypoint.list,
            cmd: inner.cmd.list,
            user: inner.user,
            working_dir: inner.working_dir,
            env: inner.env.list.into_iter().map(name).collect(),
            labels: inner.labels,
            exposed_ports: inner.exposed_ports.into_keys().collect(),
            diff_ids: document.rootfs.unwrap_or_default().diff_ids,
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
    let (mut inspected, mut notes) = (Vec::new(), Vec::new());
    for image in &images {
        let config = match Config::read(&image.config) {
            // Signatures and attestations among images.
            Ok(config) if !single && config.platform == "unknown/unknown" => {
                notes.push(format!("{}: it is an attestation", image.manifest.digest));
                continue;
            }
            Ok(config) => config,
            Err(why) if !single => {
                notes.push(format!("{}: {why}", image.manifest.digest));
                continue;
            }
            Err(why) => return Err(client.no_image(&why)),
        };
        let diff_id = |at: usize| config.diff_ids.get(at).copied();
        let layers = image.layers.iter().enumerate();
        let layers =
            layers.map(|(at, layer)| InspectedLayer { digest: layer.digest, size: layer.size, diff_id: diff_id(at) });
        inspected.push(Inspected {
            names: Vec::new(),
            digest: Some(image.manifest.digest).filter(|_| !single),
            config_digest: image.config_digest,
            layers: layers.collect(),
            config,
        });
    }
    if inspected.is_empty() {
        return Err(client.no_image("an index without images"));
    }
    Ok(Inspection {
        digest: Some(manifest.digest),
        media_type: Some(manifest.media_type),
        images: inspected,
        names: Vec::new(),
        notes,
    })
}

/// Reads a whole archive as a push would, and keeps nothing. Blocking. [`Rules::inspecting`] shows all of its images.
///
/// # Errors
/// The archive is invalid.
pub fn archive(source: ArchiveSource, limits: &ArchiveLimits, rules: &Rules) -> Result<Inspection, ArchiveError> {
    let archive = read_archive(source, limits, rules, &mut Nowhere)?;
    let notes = archive.notes();
    let Archive { images, index, .. } = archive;
    let inspect = |image: &crate::image::Image| {
        let layer = |layer: &crate::image::LayerRef| InspectedLayer {
            digest: layer.blob,
            size: layer.size,
            diff_id: Some(layer.diff_id),
        };
        Ok(Inspected {
            names: image.names.clone(),
            digest: image.manifest.as_ref().map(|manifest| manifest.digest),
            config_digest: image.config_digest,
            config: Config::read(&image.config).map_err(ArchiveError::Bad)?,
            layers: image.layers.iter().map(layer).collect(),
        })
    };
    let mut names: Vec<String> = Vec::new();
    for name in images.iter().flat_map(|image| &image.names) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let images = images.iter().map(inspect).collect::<Result<_, ArchiveError>>()?;
    let (digest, media_type) = index.map(|own| (own.index.digest, own.index.media_type)).unzip();
    Ok(Inspection { digest, media_type, images, names, notes })
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
        let null =
            br#"{"architecture":"amd64","os":null,"config":{"Entrypoint":"/agent","Cmd":null,"Env":null,"Labels":null,
            "User":null,"ExposedPorts":null},"rootfs":{"diff_ids":null}}"#;
        let config = Config::read(null).unwrap();
        assert_eq!((config.platform.as_str(), config.entrypoint), ("linux/amd64", vec!["/agent".to_owned()]));
        assert_eq!(
            Config::read(br#"{"architecture":"amd64","config":null,"rootfs":null}"#).unwrap().platform,
            "linux/amd64"
        );
        assert!(Config::read(b"{}").is_err() && Config::read(b"[1").is_err());
    }
}
