//! Content digests. Only SHA-256: what an image archive or a registry names by anything else is refused, never guessed.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

const HEX: &[u8; 16] = b"0123456789abcdef";

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

    /// From 64 lower-case hexadecimal digits, as the names of blobs in an OCI layout have them.
    pub fn from_hex(hex: &str) -> Result<Self, DigestError> {
        let digits = hex.as_bytes();
        if digits.len() != 64 {
            return Err(DigestError::Form);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let mut value = 0;
            for &digit in pair {
                value = value << 4
                    | match digit {
                        b'0'..=b'9' => digit - b'0',
                        b'a'..=b'f' => digit - b'a' + 10,
                        _ => return Err(DigestError::Form),
                    };
            }
            *byte = value;
        }
        Ok(Self(bytes))
    }

    /// The 64 hexadecimal digits without the algorithm.
    pub fn hex(&self) -> String {
        let digit = |nibble: u8| HEX.get(usize::from(nibble)).map_or('0', |&digit| char::from(digit));
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }
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

/// Makes a digest of bytes that come in pieces.
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

    /// How many bytes there were so far.
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
