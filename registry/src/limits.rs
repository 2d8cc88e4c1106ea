//! What an image may be: how large (`Limits`, the operator's) and of which kind (`Rules`, the caller's). Nothing here
//! reads anything.

use crate::image::Platform;

/// Bounds on everything that an archive chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the archive, as it is sent and uncompressed.
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
    /// Bytes of all JSON documents that are kept.
    pub json_total_bytes: usize,
    /// Manifests that an index refers to, and the indexes it refers to.
    pub manifests: usize,
    /// Bytes of a path in the archive or in a layer.
    pub path_bytes: usize,
    /// Bytes of the extended header (pax) of one entry.
    pub pax_bytes: usize,
    /// How many bytes may come of one compressed byte, once `ratio_after` have come.
    pub ratio: u64,
    pub ratio_after: u64,
    /// The largest zstd window, as a power of two: it is kept in memory.
    pub zstd_window_log: u32,
}

impl Default for Limits {
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

/// Which image is wanted, and what it may contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The one platform that is wanted: of an image for several, only this is taken. Without it every platform that is
    /// `accepted` is.
    pub platform: Option<Platform>,
    /// Where the image could run. An image for none of these is refused. An empty list accepts every platform.
    pub accepted: Vec<Platform>,
    /// The name (`repository:tag`, or the tag alone) of the one that is wanted, where an archive has several images.
    pub name: Option<String>,
    /// An image without entry point and command is refused: nothing would run.
    pub entry_point: bool,
    pub allow: Allow,
}

impl Default for Rules {
    fn default() -> Self {
        let accepted = ["amd64", "arm64"].map(|architecture| Platform::new("linux", architecture, None)).to_vec();
        Self { platform: None, accepted, name: None, entry_point: true, allow: Allow::default() }
    }
}

/// What is let through in layers although it is refused otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allow {
    /// `.env` files and private keys at these paths. `*` stands for any characters, also `/`: `app/test/*`, or `*`.
    pub secrets: Vec<String>,
    /// Device nodes.
    pub devices: bool,
}
