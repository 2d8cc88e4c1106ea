//! Content digests. Only SHA-256; any other algorithm is refused.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

/// A SHA-256 digest: `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    #[error("the digest is not SHA-256: only `sha256:` and 64 hexadecimal digits can be checked")]
    Algorithm,
    #[error("a SHA-256 digest is `sha256:` and 64 lower-case hexadecimal digits")]
    Form,
}

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From 64 lower-case hexadecimal digits, as in blob names of an OCI layout.
    pub fn from_hex(text: &str) -> Result<Self, DigestError> {
        // `hex` also decodes upper case, which would give one digest two spellings.
        if text.bytes().any(|digit| digit.is_ascii_uppercase()) {
            return Err(DigestError::Form);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| DigestError::Form)?;
        Ok(Self(bytes))
    }

    /// The 64 hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

/// The beginnings of digests in JSON that are registered, but not read.
const OTHERS: [&[u8]; 3] = [b"\"sha512:", b"\"sha384:", b"\"blake3:"];

/// True if a document has digests that cannot be checked, which is why it could not be read.
pub(crate) fn has_others(json: &[u8]) -> bool {
    OTHERS.iter().any(|other| json.windows(other.len()).any(|window| window == *other))
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::from_hex(text.strip_prefix("sha256:").ok_or(DigestError::Algorithm)?)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// Computes a digest from bytes that arrive in pieces.
#[derive(Clone, Default)]
pub struct Hasher {
    sha: sha2::Sha256,
    bytes: u64,
}

impl Hasher {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn update(&mut self, piece: &[u8]) {
        self.sha.update(piece);
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn finish(self) -> Digest {
        Digest(self.sha.finalize().into())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({} bytes)", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_and_shown() {
        let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), text);
        assert_eq!(text.parse(), Ok(Digest::of(b"abc")));
        let mut hasher = Hasher::new();
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!((hasher.bytes(), hasher.finish()), (3, Digest::of(b"abc")));
        assert_eq!(serde_json::to_string(&Digest::of(b"abc")).unwrap(), format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<Digest>(&format!("\"{text}\"")).unwrap(), Digest::of(b"abc"));
    }

    #[test]
    fn anything_else_is_refused() {
        assert_eq!("sha512:ab".parse::<Digest>(), Err(DigestError::Algorithm));
        assert_eq!("SHA256:ab".parse::<Digest>(), Err(DigestError::Algorithm));
        for hex in ["", "ab", &"A".repeat(64), &"g".repeat(64), &"a".repeat(63), &"a".repeat(65), &"ü".repeat(32)] {
            assert_eq!(Digest::from_hex(hex), Err(DigestError::Form), "{hex}");
        }
    }
}
