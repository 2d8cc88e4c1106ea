//! Registry documents, manifests and indexes, reduced to the needed fields. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, has_others};
use crate::go::{or_default, texts};

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

const MAX_LAYERS: usize = 1_000;
const MAX_IMAGES: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default, deserialize_with = "or_default")]
    pub media_type: String,
    pub digest: Digest,
    #[serde(default, deserialize_with = "or_default")]
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<PlatformOf>,
    #[serde(default, deserialize_with = "texts", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A platform in the format of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformOf {
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    pub schema_version: u32,
    pub media_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
    #[serde(default, deserialize_with = "texts", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    pub schema_version: u32,
    pub media_type: String,
    pub manifests: Vec<Descriptor>,
}

#[derive(Debug)]
pub enum Document {
    Manifest(ImageManifest),
    Index(ImageIndex),
}

/// All fields of both document types. The fields that are present decide which one it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Loose {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    #[serde(default, deserialize_with = "texts")]
    annotations: BTreeMap<String, String>,
}

impl Document {
    /// `media_type` is the response's content type, for documents that do not declare their own.
    ///
    /// # Errors
    /// A phrase that completes "this is ...".
    pub fn read(bytes: &[u8], media_type: &str) -> Result<Self, String> {
        let loose: Loose =
            serde_json::from_slice(bytes).map_err(|error| match error.is_data() && has_others(bytes) {
                true => "a manifest with digests other than SHA-256, which cannot be checked".to_owned(),
                false => format!("no manifest (line {}, column {})", error.line(), error.column()),
            })?;
        if loose.schema_version != 2 {
            return Err(format!("a manifest of schema {}, which is not supported", loose.schema_version));
        }
        let media_type = loose.media_type.filter(|text| !text.is_empty()).unwrap_or_else(|| media_type.to_owned());
        match (loose.config, loose.layers, loose.manifests) {
            // An image without layers may have `null` for them, and an index without manifests, too.
            (Some(config), layers, None) => match layers.unwrap_or_default() {
                layers if layers.len() <= MAX_LAYERS => Ok(Self::Manifest(ImageManifest {
                    schema_version: 2,
                    media_type,
                    config,
                    layers,
                    annotations: loose.annotations,
                })),
                _ => Err(format!("an image of more than {MAX_LAYERS} layers")),
            },
            (None, None, Some(manifests)) if manifests.len() <= MAX_IMAGES * 2 => {
                Ok(Self::Index(ImageIndex { schema_version: 2, media_type, manifests }))
            }
            (None, None, None) if media_type == OCI_INDEX || media_type == DOCKER_LIST => {
                Ok(Self::Index(ImageIndex { schema_version: 2, media_type, manifests: Vec::new() }))
            }
            (None, None, Some(_)) => Err(format!("an index of more than {} images", MAX_IMAGES * 2)),
            _ => Err("neither an image nor an index".to_owned()),
        }
    }
}

impl ImageIndex {
    /// Its images. BuildKit's attestations have no platform and are left out.
    pub fn images(&self) -> impl Iterator<Item = &Descriptor> {
        let built = |entry: &&Descriptor| {
            let unknown = entry.platform.as_ref().is_some_and(|platform| platform.os == "unknown");
            !unknown && !entry.annotations.contains_key("vnd.docker.reference.type")
        };
        self.manifests.iter().filter(built).take(MAX_IMAGES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

    const HEX: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_two_kinds() {
        let layer = format!(r#"{{"mediaType":"m","digest":"{HEX}","size":3}}"#);
        let image = format!(r#"{{"schemaVersion":2,"config":{layer},"layers":[{layer}]}}"#);
        let Document::Manifest(manifest) = Document::read(image.as_bytes(), OCI_MANIFEST).unwrap() else { panic!() };
        assert_eq!((manifest.layers.len(), manifest.media_type.as_str()), (1, OCI_MANIFEST));
        let null = format!(
            r#"{{"schemaVersion":2,"mediaType":null,"config":{{"mediaType":null,"digest":"{HEX}","size":3,"annotations":null}},
                "layers":null,"manifests":null,"annotations":null}}"#
        );
        let Document::Manifest(manifest) = Document::read(null.as_bytes(), OCI_MANIFEST).unwrap() else { panic!() };
        assert!(manifest.layers.is_empty() && manifest.annotations.is_empty());
        let null = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":null}}"#);
        assert!(
            matches!(Document::read(null.as_bytes(), "").unwrap(), Document::Index(index) if index.manifests.is_empty())
        );
        let attestation = format!(
            r#"{{"mediaType":"m","digest":"{HEX}","size":3,"platform":{{"os":"unknown","architecture":"unknown"}}}}"#
        );
        let index =
            format!(r#"{{"schemaVersion":2,"mediaType":"{DOCKER_INDEX}","manifests":[{layer},{attestation}]}}"#);
        let Document::Index(index) = Document::read(index.as_bytes(), "").unwrap() else { panic!() };
        assert_eq!((index.images().count(), index.media_type.as_str()), (1, DOCKER_INDEX));
    }

    #[test]
    fn anything_else_is_said() {
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"schemaVersion":1}"#,
            r#"{"schemaVersion":2}"#,
            r#"{"schemaVersion":2,"config":{"digest":"md5:1"},"layers":[]}"#,
            r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#,
        ] {
            assert!(Document::read(bad.as_bytes(), "").is_err(), "{bad}");
        }
        let sha512 = r#"{"schemaVersion":2,"manifests":[{"digest":"sha512:ab"}]}"#;
        assert!(Document::read(sha512.as_bytes(), "").unwrap_err().contains("other than SHA-256"));
        let entry = format!(r#"{{"mediaType":"m","digest":"{HEX}","size":3}}"#);
        let many = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, vec![entry; 200].join(","));
        assert!(Document::read(many.as_bytes(), "").unwrap_err().contains("more than"));
    }
}
