//! Pushes a tool's component as a Wasm OCI artifact.

use bytes::Bytes;
use cofferdam_contract::Component;
use cofferdam_contract::Problem;
use oci_client::client::{Config, ImageLayer};
use oci_client::manifest::OciImageManifest;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::client::{Access, WHOLE, access};
use super::{failure, layout};
use crate::Error;
use crate::services::App;

/// Where a component was pushed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Pushed {
    /// `registry/repository:tag@digest` of the manifest.
    pub reference: String,
    pub digest: String,
}

/// # Errors
/// What the registry did not do; a reference by digest, which nothing can be pushed to.
pub async fn push(app: &App, text: &str, component: &Component, bytes: Bytes) -> Result<Pushed, Error> {
    let access = access(app, text)?;
    if access.reference.digest().is_some() {
        return Err(Problem::invalid("oci: push to a tag, not to a digest").into());
    }
    match tokio::time::timeout(WHOLE, send(&access, component, bytes)).await {
        Ok(pushed) => pushed,
        Err(_) => Err(failure::late(&access.reference)),
    }
}

async fn send(access: &Access, component: &Component, bytes: Bytes) -> Result<Pushed, Error> {
    let Access { client, auth, reference, .. } = access;
    let exports: Vec<&str> = component.functions.iter().filter_map(|f| f.export.interface.as_deref()).collect();
    let config = serde_json::json!({
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [component.digest],
        "component": {"exports": dedup(exports), "imports": component.imports, "target": null},
    });
    let config = serde_json::to_vec(&config).map_err(|e| Error::Wire(e.to_string()))?;
    let config = Config::new(config, layout::CONFIG.to_owned(), None);
    let layers = [ImageLayer::new(bytes, layout::LAYER.to_owned(), None)];
    let mut manifest = OciImageManifest::build(&layers, &config, None);
    manifest.media_type = Some(layout::MANIFEST.to_owned());
    client.push(reference, &layers, config, auth, Some(manifest)).await.map_err(|e| failure::problem(&e, reference))?;
    // The digest is the registry's: of the bytes as it has them.
    let (_, digest) = client.pull_image_manifest(reference, auth).await.map_err(|e| failure::problem(&e, reference))?;
    tracing::info!(%reference, digest, "a component was pushed");
    Ok(Pushed { reference: format!("{reference}@{digest}"), digest })
}

fn dedup(mut names: Vec<&str>) -> Vec<&str> {
    names.sort_unstable();
    names.dedup();
    names
}
