//! The keys that an operator trusts to sign components in registries (cosign's, ECDSA on P-256).

use p256::ecdsa::VerifyingKey;
use p256::pkcs8::DecodePublicKey;
use serde::Deserialize;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Signatures {
    /// Refuses every component without a valid signature, and so every upload.
    pub required: bool,
    pub keys: Vec<PublicKey>,
}

/// A public key in PEM (`cosign.pub`).
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct PublicKey(pub VerifyingKey);

impl TryFrom<String> for PublicKey {
    type Error = String;

    fn try_from(pem: String) -> Result<Self, String> {
        VerifyingKey::from_public_key_pem(pem.trim())
            .map(Self)
            .map_err(|_| "not an ECDSA P-256 public key in PEM (cosign.pub)".to_owned())
    }
}
