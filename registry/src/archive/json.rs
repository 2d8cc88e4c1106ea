//! The JSON of image archives, reduced to the needed fields. Sizes are bounded before parsing, and `serde_json` bounds
//! the depth.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ArchiveError;
use crate::digest::{Digest, has_others};
use crate::go::{Words, or_default, texts};
use crate::image::Platform;
use crate::shown::shown;

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
    /// Other places of the content, for layers that nobody may pass on.
    #[serde(default, deserialize_with = "or_default")]
    pub urls: Vec<String>,
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

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// True if the bytes may start a JSON document that a manifest refers to. One in UTF-16 is recognized, too, so that
/// parsing it says so.
pub(super) fn looks_like_json(head: &[u8]) -> bool {
    let plain = head.strip_prefix(UTF8_MARK).unwrap_or(head).trim_ascii_start();
    matches!(plain.first(), Some(b'{' | b'['))
        || matches!(head, [0xff, 0xfe, b'{' | b'[', 0, ..] | [0xfe, 0xff, 0, b'{' | b'[', ..])
}

/// Parses a document. A byte order mark is skipped in the archive's own ones; in those that are pushed as they are it would
/// keep every runtime from reading them.
pub(super) fn parse<T: DeserializeOwned>(what: &str, path: &str, bytes: &[u8]) -> Result<T, ArchiveError> {
    let bad = |why: &str| Err(ArchiveError::Bad(format!("{what} {} {why}", shown(path.as_bytes()))));
    let own = matches!(path, "manifest.json" | "index.json");
    let bytes = match bytes.strip_prefix(UTF8_MARK) {
        Some(rest) if own => rest,
        Some(_) => {
            return bad("begins with a byte order mark, which no container runtime reads; save the image without it");
        }
        None => bytes,
    };
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return bad("is UTF-16 text, and JSON is read as UTF-8; save it again as UTF-8");
    }
    serde_json::from_slice(bytes).or_else(|error| {
        if error.is_data() && has_others(bytes) {
            return bad(
                "has digests other than SHA-256, which cannot be checked; save the image again with SHA-256 digests",
            );
        }
        // Only the position: serde's message could quote the content.
        let (line, column) = (error.line(), error.column());
        let why = if error.is_eof() {
            "ends early"
        } else if error.is_syntax() {
            "is not valid JSON"
        } else {
            "has an unexpected structure"
        };
        bad(&format!("{why} (line {line}, column {column}); save the image again"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_in_other_codings_are_named() {
        let utf16 = |mark: [u8; 2], little: bool| {
            let unit = |unit: u16| if little { unit.to_le_bytes() } else { unit.to_be_bytes() };
            mark.into_iter().chain("{}".encode_utf16().flat_map(unit)).collect::<Vec<u8>>()
        };
        for bytes in [utf16([0xff, 0xfe], true), utf16([0xfe, 0xff], false)] {
            assert!(looks_like_json(&bytes));
            let error = parse::<Index>("the index", "index.json", &bytes).unwrap_err().to_string();
            assert!(error.contains("UTF-16") && error.contains("save it again as UTF-8"), "{error}");
        }
        let marked = [UTF8_MARK, b"{}"].concat();
        assert!(looks_like_json(&marked));
        assert!(parse::<Index>("the index", "index.json", &marked).is_ok());
        let error = parse::<Index>("the manifest", "blobs/sha256/x", &marked).unwrap_err().to_string();
        assert!(error.contains("byte order mark"), "{error}");
    }

    #[test]
    fn other_digests_are_named() {
        let text = br#"{"manifests":[{"digest":"sha512:cf83e1"}]}"#;
        let error = parse::<Index>("the index", "index.json", text).unwrap_err().to_string();
        assert!(error.contains("other than SHA-256"), "{error}");
    }
}
