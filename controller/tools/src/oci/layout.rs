//! The Wasm OCI artifact layout: a manifest with a Wasm configuration and one layer that is the component.

use std::collections::BTreeMap;

use cofferdam_contract::Problem;
use cofferdam_contract::tool::MAX_COMPONENT_BYTES;
use cofferdam_registry::go::{or_default, texts};
use serde::{Deserialize, Serialize};

pub(super) const CONFIG: &str = "application/vnd.wasm.config.v0+json";
pub(super) const LAYER: &str = "application/wasm";
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media types from before the layout was settled.
const OLD_CONFIG: &str = "application/vnd.wasm.config.v1+json";
const OLD_LAYER: &str = "application/vnd.wasm.content.layer.v1+wasm";

/// The read part of an artifact's manifest. Its sizes and digests are not trusted yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub schema_version: u32,
    #[serde(default, deserialize_with = "or_default")]
    pub media_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default, deserialize_with = "or_default")]
    pub media_type: String,
    pub digest: String,
    pub size: i64,
    #[serde(default, deserialize_with = "texts", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An index has these instead of layers.
#[derive(Deserialize)]
struct Index {
    #[serde(rename = "manifests")]
    _manifests: Vec<serde::de::IgnoredAny>,
}

/// The document at a reference.
pub(super) enum Found {
    Manifest(Manifest),
    Index,
    Neither,
}

pub(super) fn read(bytes: &[u8]) -> Found {
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) {
        return Found::Manifest(manifest);
    }
    if serde_json::from_slice::<Index>(bytes).is_ok() { Found::Index } else { Found::Neither }
}

/// The layer that is the component.
///
/// # Errors
/// An artifact of another layout, or a component that is too large.
pub(super) fn component(manifest: &Manifest) -> Result<&Descriptor, Problem> {
    let shown = |text: &str| text.chars().take(100).collect::<String>();
    let config = manifest.config.media_type.as_str();
    if !matches!(config, CONFIG | OLD_CONFIG) {
        let detail = format!(
            "The artifact's configuration is {:?}, not {CONFIG}: it is no Wasm artifact (wkg, oras or `cofferdam tool \
             push` make one).",
            shown(config)
        );
        return Err(Problem::bad_component(detail));
    }
    let [layer] = manifest.layers.as_slice() else {
        let detail = format!("A Wasm artifact has one layer; this one has {}.", manifest.layers.len());
        return Err(Problem::bad_component(detail));
    };
    if !matches!(layer.media_type.as_str(), LAYER | OLD_LAYER) {
        let detail = format!("The artifact's layer is {:?}, not {LAYER}.", shown(&layer.media_type));
        return Err(Problem::bad_component(detail));
    }
    if usize::try_from(layer.size).map_or(true, |size| size > MAX_COMPONENT_BYTES) {
        return Err(Problem::too_large(format!("A component may have at most {MAX_COMPONENT_BYTES} bytes.")));
    }
    Ok(layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wasm_artifact_is_one() {
        let good = Manifest {
            config: Descriptor { media_type: CONFIG.into(), ..Descriptor::default() },
            layers: vec![Descriptor { media_type: LAYER.into(), size: 5, ..Descriptor::default() }],
            ..Manifest::default()
        };
        assert_eq!(component(&good).unwrap().size, 5);
        let mut image = good.clone();
        image.config.media_type = "application/vnd.oci.image.config.v1+json".into();
        let mut two = good.clone();
        two.layers.push(two.layers[0].clone());
        let mut tar = good.clone();
        tar.layers[0].media_type = "application/vnd.oci.image.layer.v1.tar+gzip".into();
        let mut large = good.clone();
        large.layers[0].size = 1 << 40;
        let mut negative = good.clone();
        negative.layers[0].size = -1;
        for bad in [image, two, tar, large, negative] {
            assert!(component(&bad).is_err(), "{bad:?}");
        }
    }
}
