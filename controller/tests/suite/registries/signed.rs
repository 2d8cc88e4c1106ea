//! Signatures as cosign attaches them: by a tag, and as referrers, in Debian's registry.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::{EncodePublicKey, LineEnding};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::rig::{DockerRegistry, MANIFEST, descriptor, pull};
use crate::support::TestApp;
use cofferdam_testkit::tools::{FakeTools, component, digest};

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
const SIGNATURE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

/// The payload that cosign signs.
fn payload(digest: &str) -> Vec<u8> {
    let identity = json!({"docker-reference": "registry.example/tools/one"});
    let image = json!({"docker-manifest-digest": digest});
    let critical = json!({"identity": identity, "image": image, "type": "cosign container image signature"});
    json!({"critical": critical, "optional": null}).to_string().into_bytes()
}

fn signature(key: &SigningKey, payload: &[u8]) -> String {
    let signature: Signature = key.sign(payload);
    BASE64_STANDARD.encode(signature.to_der().as_bytes())
}

/// The image that cosign creates from payloads and their signatures.
fn signatures(signed: &[(&[u8], &str)]) -> Value {
    let layer = |(payload, signature): &(&[u8], &str)| {
        let mut layer = descriptor(PAYLOAD, payload);
        layer["annotations"] = json!({ ANNOTATION: signature });
        layer
    };
    let config = descriptor("application/vnd.oci.image.config.v1+json", b"{}");
    let layers: Vec<Value> = signed.iter().map(layer).collect();
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
}

fn tag(digest: &str) -> String {
    digest.replace(':', "-")
}

/// A registry, and a controller that requires a signature by the key of seed 7 or 9.
struct Rig {
    registry: DockerRegistry,
    app: TestApp,
    _folder: TempDir,
}

async fn rig() -> Option<Rig> {
    let registry = DockerRegistry::start()?;
    let folder = tempfile::tempdir().unwrap();
    let mut policy = "version: \"1.0\"\nsignatures:\n  required: true\n  keys:\n".to_owned();
    for seed in [7, 9] {
        let pem = key(seed).verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
        policy.push_str("    - |\n");
        pem.lines().for_each(|line| policy.push_str(&format!("      {line}\n")));
    }
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, policy).unwrap();
    let (listed, tools) = (format!("http://{}", registry.host), FakeTools::start().await);
    let env = [("COFFERDAM_REGISTRIES", listed.as_str()), ("COFFERDAM_POLICY", path.to_str().unwrap())];
    let app = TestApp::with_tools(&tools, &env).await;
    Some(Rig { registry, app, _folder: folder })
}

impl Rig {
    /// Pushes a unique component under that name; returns its manifest's digest.
    async fn component(&self, name: &str, n: u32) -> String {
        self.registry.push_component(&format!("tools/{name}"), "1", &component(&["f"], n)).await
    }

    /// Attaches an image of signatures under the artifact's tag.
    async fn attach(&self, name: &str, digest: &str, signed: &[(&[u8], &str)]) {
        let repository = format!("tools/{name}");
        self.registry.push_blob(&repository, b"{}").await;
        for (payload, _) in signed {
            self.registry.push_blob(&repository, payload).await;
        }
        self.registry.push_manifest(&repository, &format!("{}.sig", tag(digest)), &signatures(signed)).await;
    }

    async fn is_refused(&self, name: &str, part: &str) {
        let answer = pull(&self.app, name, &format!("{}/tools/{name}:1", self.registry.host)).await;
        let problem = answer.problem(403, "denied-by-policy");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{name}: {problem}");
        self.app.call(crate::support::ADMIN, "GET", &format!("/v1/tools/{name}"), None).await.problem(404, "not-found");
    }

    async fn is_deployed(&self, name: &str) {
        let answer = pull(&self.app, name, &format!("{}/tools/{name}:1", self.registry.host)).await;
        assert_eq!(answer.status, 201, "{name}: {}", String::from_utf8_lossy(&answer.body));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_under_its_tag() {
    let Some(rig) = rig().await else { return };
    let none = rig.component("none", 1).await;
    rig.is_refused("none", &format!("{none} has none (no tag {}.sig", tag(&none))).await;

    // One of two keys is enough, and one good signature among bad ones.
    let good = rig.component("good", 2).await;
    let text = payload(&good);
    rig.attach("good", &good, &[(&text, &signature(&key(7), &text))]).await;
    rig.is_deployed("good").await;
    let several = rig.component("several", 3).await;
    let (text, stranger) = (payload(&several), payload("sha256:0"));
    let (bad, other) = (signature(&key(8), &text), signature(&key(9), &stranger));
    let signed = [(&text[..], bad.as_str()), (&stranger[..], other.as_str()), (&text[..], &signature(&key(9), &text))];
    rig.attach("several", &several, &signed).await;
    rig.is_deployed("several").await;

    let refused = "is by a key that the policy names";
    let digest_of = async |name: &str, n: u32| rig.component(name, n).await;
    let wrong_key = digest_of("wrong-key", 4).await;
    let text = payload(&wrong_key);
    rig.attach("wrong-key", &wrong_key, &[(&text, &signature(&key(8), &text))]).await;
    rig.is_refused("wrong-key", refused).await;

    // A good signature, of another artifact.
    let moved = digest_of("moved", 5).await;
    let text = payload(&good);
    rig.attach("moved", &moved, &[(&text, &signature(&key(7), &text))]).await;
    rig.is_refused("moved", refused).await;

    // The payload says this artifact, the signature is of other bytes.
    let changed = digest_of("changed", 6).await;
    let text = payload(&changed);
    rig.attach("changed", &changed, &[(&text, &signature(&key(7), &payload(&good)))]).await;
    rig.is_refused("changed", refused).await;

    for (number, text) in [
        b"{}".to_vec(),
        b"no json".to_vec(),
        b"[]".to_vec(),
        json!({"critical": {"image": {"docker-manifest-digest": 5}, "type": "cosign container image signature"}})
            .to_string()
            .into_bytes(),
        String::from_utf8(payload("DIGEST")).unwrap().replace("cosign container image", "another").into_bytes(),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("malformed-{number}");
        let digest = digest_of(&name, 10 + u32::try_from(number).unwrap()).await;
        let text = String::from_utf8(text).unwrap().replace("DIGEST", &digest).into_bytes();
        rig.attach(&name, &digest, &[(&text, &signature(&key(7), &text))]).await;
        rig.is_refused(&name, refused).await;
    }
    for (number, broken) in ["", "AAAA", "no base64!", &"A".repeat(4_000)].into_iter().enumerate() {
        let name = format!("broken-{number}");
        let digest = digest_of(&name, 20 + u32::try_from(number).unwrap()).await;
        rig.attach(&name, &digest, &[(&payload(&digest), broken)]).await;
        rig.is_refused(&name, refused).await;
    }
    // Pushed and signed, then another component under the same tag.
    let before = digest_of("replaced", 30).await;
    let text = payload(&before);
    rig.attach("replaced", &before, &[(&text, &signature(&key(7), &text))]).await;
    let after = digest_of("replaced", 31).await;
    rig.is_refused("replaced", &format!("{after} has none")).await;

    // What is uploaded has no signature at all.
    let put = rig.app.request(crate::support::ADMIN, "PUT", "/v1/tools/upload");
    let put = put.header("content-type", "application/wasm").body(axum::body::Body::from(component(&["f"], 1)));
    rig.app.send(put.unwrap()).await.problem(403, "denied-by-policy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_refers_to_its_artifact() {
    let Some(rig) = rig().await else { return };
    for (name, n, seed, good) in [("referred", 1, 9, true), ("stranger", 2, 8, false)] {
        let repository = format!("tools/{name}");
        let subject = rig.component(name, n).await;
        let text = payload(&subject);
        rig.registry.push_blob(&repository, &text).await;
        let mut manifest = signatures(&[(&text, &signature(&key(seed), &text))]);
        manifest["artifactType"] = json!(SIGNATURE);
        manifest["subject"] = json!({"mediaType": MANIFEST, "digest": subject, "size": 1});
        let bytes = manifest.to_string().into_bytes();
        let made = rig.registry.push_manifest(&repository, &digest(&bytes), &manifest).await;
        // Debian's registry has no API for referrers, so they are found as the specification says for those.
        let entry = json!({"mediaType": MANIFEST, "digest": made, "size": bytes.len(), "artifactType": SIGNATURE});
        let other = json!({"mediaType": MANIFEST, "digest": subject, "size": 1, "artifactType": "application/sbom"});
        let kind = "application/vnd.oci.image.index.v1+json";
        let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": [other, entry]});
        rig.registry.push_manifest(&repository, &tag(&subject), &index).await;
        match good {
            true => rig.is_deployed(name).await,
            false => rig.is_refused(name, "is by a key that the policy names").await,
        }
    }
}
