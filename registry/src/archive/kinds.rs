//! Tells by media types and annotations what a document of an OCI layout is: an index, an image, or an artifact that lies
//! beside one, such as a signature.

use super::json::Descriptor;
use crate::compress::Encoding;
use crate::shown::shown;

/// BuildKit's mark on what belongs to an image of the same index.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// Cosign's mark on what `cosign save` writes: `dev.cosignproject.cosign/image`, `.../sigs`, `.../atts`.
const KIND: &str = "kind";
const COSIGN: &str = "dev.cosignproject.cosign/";
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const OCI_NAME: &str = "org.opencontainers.image.ref.name";

/// The names in a descriptor. Docker and containerd write a full one, and the tag alone beside it, which different images
/// may share.
pub(super) fn own_names(descriptor: &Descriptor) -> Vec<String> {
    let named = |key: &str| descriptor.annotations.get(key).filter(|name| is_name(name)).cloned();
    named(CONTAINERD_NAME).or_else(|| named(OCI_NAME)).into_iter().collect()
}

/// Names are displayed and compared, so invalid ones are dropped.
pub(super) fn is_name(name: &str) -> bool {
    (1..=300).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(super) fn is_index(media_type: &str, bytes: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Look {
        manifests: Option<serde::de::IgnoredAny>,
    }
    match media_type {
        "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json" => true,
        "" => serde_json::from_slice::<Look>(bytes).is_ok_and(|look| look.manifests.is_some()),
        _ => false,
    }
}

pub(super) fn is_image_config(media_type: &str) -> bool {
    matches!(media_type, "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json")
}

/// A phrase that says what a manifest is, if it is an artifact. Its configuration may claim to be an image's, as cosign's
/// do, but its layers are none.
pub(super) fn artifact(descriptor: &Descriptor, layers: &[Descriptor]) -> Option<String> {
    if let Some(kind) = descriptor.annotations.get(REFERENCE_TYPE) {
        return Some(
            if kind == "attestation-manifest" { ATTESTATION } else { "it belongs to another image" }.to_owned(),
        );
    }
    match descriptor.annotations.get(KIND).and_then(|kind| kind.strip_prefix(COSIGN)) {
        Some("sigs") => return Some(SIGNATURE.to_owned()),
        Some("atts") => return Some(ATTESTATION.to_owned()),
        _ => {}
    }
    // BuildKit without annotations: an attestation runs nowhere.
    if descriptor.platform.as_ref().is_some_and(|p| p.os == "unknown" && p.architecture == "unknown") {
        return Some(ATTESTATION.to_owned());
    }
    let first = layers.first().filter(|_| layers.iter().all(|layer| !is_layer(&layer.media_type)))?;
    let kind = &first.media_type;
    let about = |word: &str| kind.contains(word);
    Some(if about("cosign.simplesigning") || about("notary") || about("signature") {
        SIGNATURE.to_owned()
    } else if about("in-toto") || about("dsse") || about("attestation") {
        ATTESTATION.to_owned()
    } else {
        format!("it is no container image, its layers are {}", shown(kind.as_bytes()))
    })
}

const SIGNATURE: &str = "it is a signature";
const ATTESTATION: &str = "it is an attestation";

/// The end of a layer's media type, after its family.
fn layer_kind(media_type: &str) -> Option<&str> {
    media_type
        .strip_prefix("application/vnd.oci.image.layer.v1.")
        .or_else(|| media_type.strip_prefix("application/vnd.oci.image.layer.nondistributable.v1."))
        .or_else(|| media_type.strip_prefix("application/vnd.docker.image.rootfs.diff."))
        .or_else(|| media_type.strip_prefix("application/vnd.docker.image.rootfs.foreign.diff."))
}

/// True for a layer that its owner does not let others pass on, such as those of Windows.
pub(super) fn is_foreign(media_type: &str) -> bool {
    media_type.contains(".nondistributable.") || media_type.contains(".foreign.")
}

fn is_layer(media_type: &str) -> bool {
    layer_kind(media_type).is_some()
}

/// The encoding for a layer's media type; `None` for any other media type.
pub(super) fn layer_encoding(media_type: &str) -> Option<Encoding> {
    match layer_kind(media_type)? {
        "tar" => Some(Encoding::Plain),
        "tar+gzip" | "tar.gzip" => Some(Encoding::Gzip),
        "tar+zstd" | "tar.zstd" => Some(Encoding::Zstd),
        _ => None,
    }
}
