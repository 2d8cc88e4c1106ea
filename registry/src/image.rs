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
            part.filter(|part| (1..=32).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()))
                .map(str::to_owned)
                .ok_or(PlatformError)
        };
        let (os, architecture) = (word(parts.next())?, word(parts.next())?);
        let variant = parts.next().map(|part| word(Some(part))).transpose()?;
        parts.next().is_none().then_some(Self { os, architecture, variant }).ok_or(PlatformError)
    }
}
