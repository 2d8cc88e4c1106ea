//! The images of an archive with their configuration, platform and layers. Does not look at a layer's bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use crate::compress::Encoding;
use crate::digest::Digest;

/// A checked image for one platform: every layer arrived and matches the configuration.
#[derive(Debug, Clone)]
pub struct Image {
    /// The configuration's bytes, unchanged.
    pub config: Bytes,
    pub config_digest: Digest,
    /// Its media type in the OCI layout's manifest.
    pub config_media_type: Option<String>,
    pub platform: Platform,
    /// From the lowest up. The same layer may appear more than once.
    pub layers: Vec<LayerRef>,
    /// Its names in the archive: `repository:tag`, or only a tag.
    pub names: Vec<String>,
    /// The manifest of an OCI layout, unchanged. Pushing these bytes keeps the image's digest, if the registry gets all
    /// layers as the archive stores them.
    pub manifest: Option<StoredManifest>,
    pub annotations: BTreeMap<String, String>,
    pub entry_point: EntryPoint,
}

#[derive(Debug, Clone)]
pub struct StoredManifest {
    pub bytes: Bytes,
    pub digest: Digest,
    pub media_type: String,
}

/// An index of the archive whose content is all there. Pushing these bytes, after everything they name, keeps its
/// digest, so that signatures of it stay valid; but only if every image keeps its manifest.
#[derive(Debug, Clone)]
pub struct StoredIndex {
    pub index: StoredManifest,
    /// Its attestations and signatures: small documents that no container runs.
    pub beside: Vec<StoredArtifact>,
}

/// A manifest that is no image's, with all of its content.
#[derive(Debug, Clone)]
pub struct StoredArtifact {
    pub manifest: StoredManifest,
    /// Its configuration and its layers.
    pub blobs: Vec<(Digest, Bytes)>,
}

/// A layer of an image. The sink received it with the same digests unless it asked for `Want::Nothing`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRef {
    /// Digest of the uncompressed layer.
    pub diff_id: Digest,
    /// Digest of the stored bytes. Equals `diff_id` for an uncompressed layer.
    pub blob: Digest,
    /// Bytes as stored in the archive.
    pub size: u64,
    /// The encoding of the stored bytes.
    pub encoding: Encoding,
}

/// The process that the image runs by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryPoint {
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub user: String,
    pub working_dir: String,
}

/// `os/architecture[/variant]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a platform is `os/architecture`, such as linux/amd64 or linux/arm64")]
pub struct PlatformError;

impl Platform {
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
    }

    /// The platform that a document claims, in the words of the others: no operating system means Linux, and
    /// `x86_64` and `aarch64` are amd64 and arm64. `unknown` stands for what is no word.
    pub(crate) fn claimed(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let word = |text: &str| {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            let good = (1..=32).contains(&text.len()) && text.bytes().all(good);
            if good { text.to_owned() } else { "unknown".to_owned() }
        };
        let os = if os.is_empty() { "linux" } else { os };
        let variant = variant.filter(|variant| !variant.is_empty()).map(word);
        Self { os: word(os), architecture: usual(&word(architecture)).to_owned(), variant }
    }

    /// True if an image for `other` runs on this platform. Without a variant, any matches. arm64 without a variant
    /// means v8.
    pub fn takes(&self, other: &Self) -> bool {
        let variant = |platform: &Self| match (platform.architecture.as_str(), platform.variant.as_deref()) {
            ("arm64", None) => Some("v8".to_owned()),
            (_, variant) => variant.map(str::to_owned),
        };
        self.os == other.os
            && self.architecture == other.architecture
            && (self.variant.is_none() || variant(self) == variant(other))
    }
}

/// The name that Docker and OCI give an architecture.
fn usual(architecture: &str) -> &str {
    match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let mut parts = text.split('/');
        let word = |part: Option<&str>| {
            part.map(usual)
                .filter(|part| (1..=32).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()))
                .map(str::to_owned)
                .ok_or(PlatformError)
        };
        let (os, architecture) = (word(parts.next())?, word(parts.next())?);
        let variant = parts.next().map(|part| word(Some(part))).transpose()?;
        parts.next().is_none().then_some(Self { os, architecture, variant }).ok_or(PlatformError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_have_one_spelling() {
        for (os, architecture, variant, text) in [
            ("", "amd64", None, "linux/amd64"),
            ("linux", "x86_64", Some(""), "linux/amd64"),
            ("linux", "aarch64", Some("v8"), "linux/arm64/v8"),
            ("", "", None, "linux/unknown"),
            ("unknown", "unknown", None, "unknown/unknown"),
            ("li\u{1b}nux", "a/b", Some("\n"), "unknown/unknown/unknown"),
        ] {
            assert_eq!(Platform::claimed(os, architecture, variant).to_string(), text);
        }
        for (text, platform) in [("linux/x86_64", "linux/amd64"), ("linux/arm64/v8", "linux/arm64/v8")] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), platform);
        }
        for text in ["", "linux", "linux/", "linux/a_b", "a/b/c/d"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
