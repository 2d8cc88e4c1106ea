//! Texts of keys and their hashes. A key has 256 random bits, so a single round of SHA-256 resists a search.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cofferdam_core::{RandomError, Secret, random};
use sha2::{Digest, Sha256};

/// The SHA-256 of a key's text.
pub type Hash = [u8; 32];

pub fn hash(key: &str) -> Hash {
    Sha256::digest(key.as_bytes()).into()
}

/// Creates a key: `cof_` and 256 random bits.
///
/// # Errors
/// The operating system returned no random bytes.
pub fn new_key() -> Result<Secret, RandomError> {
    new_text("cof_")
}

/// A prefix and 256 random bits.
pub(crate) fn new_text(prefix: &str) -> Result<Secret, RandomError> {
    Ok(Secret::new(format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(random::<32>()?))))
}
