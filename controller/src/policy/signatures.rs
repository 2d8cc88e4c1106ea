//! Keys whose signatures an operator trusts on components from registries (cosign's, ECDSA on P-256), and whether one is
//! demanded.

use p256::ecdsa::VerifyingKey;
use p256::pkcs8::DecodePublicKey;
use serde::Deserialize;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Signatures {
    /// Refuses every component without a good signature, so also those that are uploaded.
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
            .map_err(|_| "no public key in PEM of the kind ECDSA P-256 (cosign.pub)".to_owned())
    }
}
