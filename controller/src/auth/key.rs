//! A key's text and its hash. A key has 256 random bits, so one round of SHA-256 cannot be searched.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::clock::random;
use crate::config::Secret;

/// SHA-256 of a key's text.
pub type Hash = [u8; 32];

pub fn hash(key: &str) -> Hash {
    Sha256::digest(key.as_bytes()).into()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A new key: `cof_` and 256 random bits.
///
/// # Errors
/// Where the kernel gives no random bytes.
pub fn new_key() -> Result<Secret, Error> {
    Ok(Secret::new(format!("cof_{}", BASE64_URL_SAFE_NO_PAD.encode(random::<32>()?))))
}
