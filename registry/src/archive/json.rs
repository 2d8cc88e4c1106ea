//! The JSON of image archives, reduced to the needed fields. Sizes are bounded before parsing, and `serde_json` bounds
//! the depth.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ArchiveError;
use crate::digest::Digest;
use crate::go::{Words, or_default, texts};
use crate::image::Platform;
use crate::tar::shown;

/// An entry of `manifest.json`, as `docker save` writes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Saved {
    pub config: String,
    #[serde(default, deserialize_with = "or_default")]
    pub repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub layers: Vec<String>,
}

/// `index.json`, or a nested index.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    #[serde(default, deserialize_with = "or_default")]
    pub media_type: String,
    #[serde(default, deserialize_with = "or_default")]
    pub manifests: Vec<Descriptor>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default, deserialize_with = "or_default")]
    pub media_type: String,
    pub digest: Digest,
    #[serde(default, deserialize_with = "or_default")]
    pub size: u64,
    #[serde(default, deserialize_with = "texts")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub platform: Option<ClaimedPlatform>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ClaimedPlatform {
    #[serde(deserialize_with = "or_default")]
    pub os: String,
    #[serde(deserialize_with = "or_default")]
    pub architecture: String,
    pub variant: Option<String>,
}

impl ClaimedPlatform {
    /// An empty operating system means Linux, as everywhere in Docker.
    pub(super) fn platform(&self) -> Platform {
        Platform::claimed(&self.os, &self.architecture, self.variant.as_deref())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    #[serde(default, deserialize_with = "or_default")]
    pub media_type: String,
    pub config: Descriptor,
    #[serde(default, deserialize_with = "or_default")]
    pub layers: Vec<Descriptor>,
    #[serde(default, deserialize_with = "texts")]
    pub annotations: BTreeMap<String, String>,
}

/// An image's configuration.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    #[serde(default)]
    pub variant: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub config: Run,
    #[serde(default, deserialize_with = "or_default")]
    pub rootfs: RootFs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Run {
    pub entrypoint: Words,
    pub cmd: Words,
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RootFs {
    #[serde(deserialize_with = "or_default")]
    pub diff_ids: Vec<Digest>,
}

pub(super) fn parse<T: DeserializeOwned>(what: &str, path: &str, bytes: &[u8]) -> Result<T, ArchiveError> {
    serde_json::from_slice(bytes).map_err(|error| {
        // Only the position: serde's message could quote the content.
        let (line, column) = (error.line(), error.column());
        let why = if error.is_eof() {
            "ends early"
        } else if error.is_syntax() {
            "is not valid JSON"
        } else {
            "has an unexpected structure"
        };
        let path = shown(path.as_bytes());
        ArchiveError::Bad(format!("{what} {path} {why} (line {line}, column {column}); save the image again"))
    })
}
