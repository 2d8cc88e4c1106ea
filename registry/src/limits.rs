//! Bounds on the size of an image (set by the operator) and rules for its content (set by the caller).

use crate::image::Platform;

/// Bounds on everything that an archive chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Bytes of the archive, both as sent and uncompressed.
    pub archive_bytes: u64,
    /// Layers of one image.
    pub layers: usize,
    /// Bytes of one layer, uncompressed.
    pub layer_bytes: u64,
    /// Bytes of all layers together, uncompressed.
    pub image_bytes: u64,
    /// Entries of the archive itself.
    pub archive_entries: usize,
    /// Files, folders and links in all layers together.
    pub layer_entries: u64,
    /// Bytes of one JSON document: manifest, index, configuration.
    pub json_bytes: usize,
    /// Bytes of all kept JSON documents together.
    pub json_total_bytes: usize,
    /// Manifests and nested indexes that an index refers to.
    pub manifests: usize,
    /// Bytes of a path, in the archive or in a layer.
    pub path_bytes: usize,
    /// Bytes of one entry's extended (pax) header.
    pub pax_bytes: usize,
    /// The largest expansion of compressed data, enforced once `ratio_after` bytes have come out.
    pub ratio: u64,
    pub ratio_after: u64,
    /// The largest zstd window, as a power of two. It is held in memory.
    pub zstd_window_log: u32,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self {
            archive_bytes: 64 << 30,
            layers: 128,
            layer_bytes: 32 << 30,
            image_bytes: 64 << 30,
            archive_entries: 10_000,
            layer_entries: 5_000_000,
            json_bytes: 4 << 20,
            json_total_bytes: 16 << 20,
            manifests: 256,
            path_bytes: 4_096,
            pax_bytes: 1 << 20,
            ratio: 250,
            ratio_after: 256 << 20,
            zstd_window_log: 25,
        }
    }
}

/// The wanted image, and the content that it may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Only this platform is used. `None`: every accepted platform.
    pub platform: Option<Platform>,
    /// Platforms that the image can run on. Others are refused. Empty: every platform.
    pub accepted: Vec<Platform>,
    /// The wanted image's name (`repository:tag`, or only the tag), or the digest of its manifest, index or
    /// configuration, for an archive with several images.
    pub name: Option<String>,
    /// Refuse an image without entry point and command, which would run nothing. It is only noted otherwise.
    pub entry_point: bool,
    /// Take all images of an archive that has several different ones. For looking at them; a push has one target.
    pub every: bool,
    pub allow: Allow,
}

impl Rules {
    /// True if images for this platform are taken.
    pub(crate) fn wants(&self, platform: &Platform) -> bool {
        match &self.platform {
            Some(wanted) => wanted.takes(platform),
            None => self.accepted.is_empty() || self.accepted.iter().any(|one| one.takes(platform)),
        }
    }

    /// The rules for looking at an archive: every image, or those called `name`, with any platform and content.
    pub fn inspecting(name: Option<String>) -> Self {
        let allow = Allow { secrets: vec!["*".to_owned()], devices: true };
        Self { platform: None, accepted: Vec::new(), name, entry_point: false, every: true, allow }
    }
}

impl Default for Rules {
    fn default() -> Self {
        let accepted = ["amd64", "arm64"].map(|architecture| Platform::new("linux", architecture, None)).to_vec();
        Self { platform: None, accepted, name: None, entry_point: true, every: false, allow: Allow::default() }
    }
}

/// Content that is allowed in layers although it is refused by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allow {
    /// `.env` files and private keys at these paths. `*` matches any characters including `/`: `app/test/*`, or `*`.
    pub secrets: Vec<String>,
    /// Device nodes.
    pub devices: bool,
}
