//! Signatures as cosign attaches them to an artifact: an image under the tag `sha256-<digest>.sig`, each layer a payload
//! that names the artifact's digest, its signature in an annotation. A good one by one of the operator's keys is enough.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cofferdam_contract::Problem;
use oci_client::Reference;
use p256::ecdsa::Signature;
use p256::ecdsa::signature::Verifier;
use serde::Deserialize;

use super::client::Access;
use super::pull::blob;
use crate::Error;
use crate::policy::PublicKey;
use crate::services::App;

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
const MAX_PAYLOAD: i64 = 64 << 10;
const MAX_SIGNATURES: usize = 32;

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

/// Checks that the artifact of this manifest digest is signed, where the operator demands it.
///
/// # Errors
/// [`Problem::denied`] where no good signature is found.
pub(super) async fn check(app: &App, access: &Access, digest: &str) -> Result<(), Error> {
    let signatures = &app.policy.signatures;
    if !signatures.required {
        return Ok(());
    }
    let refused = |why: String| {
        let detail = format!("The operator's policy demands a signature (signatures.required): {why}");
        Error::from(Problem::denied(detail))
    };
    let tag = format!("{}.sig", digest.replace(':', "-"));
    let place = Reference::with_tag(
        access.reference.registry().to_owned(),
        access.reference.repository().to_owned(),
        tag.clone(),
    );
    let found = access.client.pull_image_manifest(&place, &access.auth).await;
    let (manifest, _) = found.map_err(|_| refused(format!("{digest} has none (no tag {tag}).")))?;
    let signed = Access { client: access.client.clone(), auth: access.auth.clone(), reference: place };
    for layer in manifest.layers.iter().filter(|layer| layer.media_type == PAYLOAD).take(MAX_SIGNATURES) {
        if !(1..=MAX_PAYLOAD).contains(&layer.size) {
            continue;
        }
        let Some(signature) = layer.annotations.as_ref().and_then(|notes| notes.get(ANNOTATION)) else { continue };
        let payload = blob(&signed, layer).await?;
        if is_good(&signatures.keys, &payload, signature, digest) {
            return Ok(());
        }
    }
    Err(refused(format!("none of the signatures of {digest} is by a key that the policy names.")))
}

/// Whether one of the keys signed this payload, and the payload means this artifact.
fn is_good(keys: &[PublicKey], payload: &[u8], signature: &str, digest: &str) -> bool {
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
    fn only_the_right_key_over_the_right_artifact_is_good() {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let other = SigningKey::from_slice(&[8; 32]).unwrap();
        let keys = [PublicKey(*key.verifying_key())];
        let sign = |key: &SigningKey, payload: &[u8]| {
            let signature: Signature = key.sign(payload);
            BASE64_STANDARD.encode(signature.to_der().as_bytes())
        };
        let (a, b) = (payload("sha256:aa"), payload("sha256:bb"));
        assert!(is_good(&keys, &a, &sign(&key, &a), "sha256:aa"));
        assert!(!is_good(&keys, &a, &sign(&other, &a), "sha256:aa"), "another key");
        assert!(!is_good(&keys, &b, &sign(&key, &b), "sha256:aa"), "a signature of another artifact");
        assert!(!is_good(&keys, &a, &sign(&key, &b), "sha256:aa"), "a payload that was changed");
        assert!(!is_good(&[], &a, &sign(&key, &a), "sha256:aa"), "no key");
        assert!(!is_good(&keys, &a, "no base64!", "sha256:aa") && !is_good(&keys, &a, "AAAA", "sha256:aa"));
        let nonsense = b"{}".to_vec();
        assert!(!is_good(&keys, &nonsense, &sign(&key, &nonsense), "sha256:aa"));
    }
}
