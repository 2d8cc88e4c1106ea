//! Pushes a tool's component as a Wasm OCI artifact.

use bytes::Bytes;
use cofferdam_contract::{Component, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{Access, TRANSFER_TIMEOUT};
use super::layout::{Descriptor, Manifest};
use super::{Artifacts, failure, layout};
use crate::Error;

/// The place of a pushed component.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Pushed)]
pub struct PushedTool {
    /// `registry/repository:tag@digest` of the manifest.
    pub reference: String,
    pub digest: String,
}

impl Artifacts {
    /// # Errors
    /// The registry's failure, or a reference by digest.
    pub(crate) async fn push(&self, text: &str, component: &Component, bytes: Bytes) -> Result<PushedTool, Error> {
        let access = self.access(text)?;
        if access.reference.digest().is_some() {
            return Err(Problem::invalid("oci: push to a tag, not to a digest").into());
        }
        let pushed = tokio::time::timeout(TRANSFER_TIMEOUT, send(&access, component, bytes)).await;
        pushed.unwrap_or_else(|_| Err(failure::late(&access.reference).into()))
    }
}

async fn send(access: &Access, component: &Component, bytes: Bytes) -> Result<PushedTool, Error> {
    let Access { client, reference } = access;
    let exports: Vec<&str> = component.functions.iter().filter_map(|f| f.export.interface.as_deref()).collect();
    let config = serde_json::json!({
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [component.digest],
        "component": {"exports": dedup(exports), "imports": component.imports, "target": null},
    });
    let config = Bytes::from(config.to_string());
    let mut parts = Vec::new();
    for (bytes, media_type) in [(&config, layout::CONFIG), (&bytes, layout::LAYER)] {
        let digest = client.put_blob(bytes).await.map_err(|e| failure::problem(&e, reference))?.to_string();
        let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        parts.push(Descriptor { media_type: media_type.to_owned(), digest, size, ..Descriptor::default() });
    }
    let layers = parts.split_off(1);
    let config = parts.pop().unwrap_or_default();
    let manifest = Manifest { schema_version: 2, media_type: layout::MANIFEST.to_owned(), config, layers };
    let manifest = serde_json::to_vec(&manifest)?;
    let tag = reference.which();
    let put = client.put_manifest(&tag, layout::MANIFEST, manifest.into()).await;
    let digest = put.map_err(|e| failure::problem(&e, reference))?.to_string();
    tracing::info!(%reference, digest, "a component was pushed");
    let place = format!("{}/{}:{tag}", reference.registry(), reference.repository());
    Ok(PushedTool { reference: format!("{place}@{digest}"), digest })
}

fn dedup(mut names: Vec<&str>) -> Vec<&str> {
    names.sort_unstable();
    names.dedup();
    names
}
