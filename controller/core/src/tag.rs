//! Short, stable tags of names, for use within ids.

use sha2::{Digest, Sha256};

/// Hex digits of a tag.
pub const TAG_LENGTH: usize = 8;

/// The tag of a name: the first eight hex digits of its SHA-256.
pub fn tag(name: &str) -> String {
    let digest = Sha256::digest(name.as_bytes());
    hex::encode(digest.get(..TAG_LENGTH / 2).unwrap_or_default())
}
