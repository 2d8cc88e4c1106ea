//! Signatures in the form of cosign: an image whose layers are payloads that name the artifact's digest, each with its
//! signature in an annotation; under the tag `sha256-<digest>.sig`, or as a referrer of the artifact (OCI 1.1). One valid
//! signature by one of the operator's keys is enough.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cofferdam_contract::Problem;
use cofferdam_policy::{PublicKey, Signatures};
use cofferdam_registry::Digest;
use cofferdam_registry::client::error::Kind;
use p256::ecdsa::Signature;
use p256::ecdsa::signature::Verifier;
use serde::Deserialize;

use super::access::Access;
use super::layout::{Found, Manifest};
use super::pull::blob;
use super::{failure, layout};
use crate::Error;

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
const MAX_PAYLOAD: i64 = 64 << 10;
/// The most signatures of one manifest, and the most manifests that refer to one artifact, that are checked.
const MAX_SIGNATURES: usize = 32;
const MAX_REFERRERS: usize = 8;
/// Cosign's artifact type of a signature that is a referrer.
const ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Checks that the artifact of this manifest digest is signed, if the operator requires it.
///
/// # Errors
/// [`Problem::denied`] if there is no valid signature.
pub(super) async fn check(signatures: &Signatures, access: &Access, digest: &Digest) -> Result<(), Error> {
    if !signatures.required {
        return Ok(());
    }
    let refused = |why: String| {
        let detail = format!("The operator's policy demands a signature (signatures.required): {why}");
        Error::from(Problem::denied(detail))
    };
    let mut any = false;
    if let Some(manifest) = tagged(access, digest).await? {
        any = true;
        if is_signed(access, &signatures.keys, &manifest, digest).await? {
            return Ok(());
        }
    }
    for manifest in referring(access, digest).await {
        any = true;
        if is_signed(access, &signatures.keys, &manifest, digest).await? {
            return Ok(());
        }
    }
    Err(refused(match any {
        true => format!("none of the signatures of {digest} is by a key that the policy names."),
        false => format!("{digest} has none (no tag {}, no referrer).", tag(digest)),
    }))
}

fn tag(digest: &Digest) -> String {
    format!("{}.sig", digest.to_string().replace(':', "-"))
}

/// The manifest under the tag for signatures.
async fn tagged(access: &Access, digest: &Digest) -> Result<Option<Manifest>, Error> {
    match access.client.manifest(&tag(digest)).await {
        Ok(served) => match layout::read(&served.bytes) {
            Found::Manifest(manifest) => Ok(Some(manifest)),
            Found::Index | Found::Neither => Err(failure::unexpected(&access.reference).into()),
        },
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(failure::problem(&error, &access.reference).into()),
    }
}

/// The manifests of signatures that refer to the artifact. A registry without the referrers API has none.
async fn referring(access: &Access, digest: &Digest) -> Vec<Manifest> {
    let entries = match access.client.referrers(digest, ARTIFACT).await {
        Ok(entries) => entries,
        Err(error) => {
            tracing::debug!(%error, "the referrers of an artifact could not be listed");
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    // A registry need not filter; other referrers have no signature payload.
    for entry in entries.iter().take(MAX_REFERRERS) {
        match access.client.manifest(&entry.digest.to_string()).await {
            Ok(served) => {
                if let Found::Manifest(manifest) = layout::read(&served.bytes) {
                    found.push(manifest);
                }
            }
            Err(error) => tracing::debug!(%error, digest = %entry.digest, "a referrer cannot be read"),
        }
    }
    found
}

/// True if a layer of this manifest is a valid signature of the artifact.
async fn is_signed(access: &Access, keys: &[PublicKey], manifest: &Manifest, digest: &Digest) -> Result<bool, Error> {
    for layer in manifest.layers.iter().filter(|layer| layer.media_type == PAYLOAD).take(MAX_SIGNATURES) {
        if !(1..=MAX_PAYLOAD).contains(&layer.size) {
            continue;
        }
        let Some(signature) = layer.annotations.get(ANNOTATION) else { continue };
        if is_valid(keys, &blob(access, layer).await?, signature, &digest.to_string()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// True if one of the keys signed this payload and the payload names this artifact.
fn is_valid(keys: &[PublicKey], payload: &[u8], signature: &str, digest: &str) -> bool {
    let Ok(der) = BASE64_STANDARD.decode(signature.trim()) else { return false };
    let Ok(signature) = Signature::from_der(&der) else { return false };
    if !keys.iter().any(|key| key.0.verify(payload, &signature).is_ok()) {
        return false;
    }
    serde_json::from_slice::<Payload>(payload).is_ok_and(|payload| {
        payload.critical.image.digest == digest && payload.critical.kind == "cosign container image signature"
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use p256::ecdsa::SigningKey;
    use p256::ecdsa::signature::Signer;

    fn payload(digest: &str) -> Vec<u8> {
        format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"r.example/t"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}"#
        )
        .into_bytes()
    }

    #[test]
    fn only_the_right_key_over_the_right_artifact_is_valid() {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let other = SigningKey::from_slice(&[8; 32]).unwrap();
        let keys = [PublicKey(*key.verifying_key())];
        let sign = |key: &SigningKey, payload: &[u8]| {
            let signature: Signature = key.sign(payload);
            BASE64_STANDARD.encode(signature.to_der().as_bytes())
        };
        let (a, b) = (payload("sha256:aa"), payload("sha256:bb"));
        assert!(is_valid(&keys, &a, &sign(&key, &a), "sha256:aa"));
        assert!(!is_valid(&keys, &a, &sign(&other, &a), "sha256:aa"), "another key");
        assert!(!is_valid(&keys, &b, &sign(&key, &b), "sha256:aa"), "a signature of another artifact");
        assert!(!is_valid(&keys, &a, &sign(&key, &b), "sha256:aa"), "a payload that was changed");
        assert!(!is_valid(&[], &a, &sign(&key, &a), "sha256:aa"), "no key");
        assert!(!is_valid(&keys, &a, "no base64!", "sha256:aa") && !is_valid(&keys, &a, "AAAA", "sha256:aa"));
        let nonsense = b"{}".to_vec();
        assert!(!is_valid(&keys, &nonsense, &sign(&key, &nonsense), "sha256:aa"));
    }
}
