//! Pulls a component: the manifest, its signature where the operator trusts keys, the layer. Bounded, and every byte
//! compared with the digest that the manifest names.

use bytes::{Bytes, BytesMut};
use cofferdam_contract::Problem;
use futures_util::StreamExt;
use oci_client::client::LayerDescriptor;
use oci_client::manifest::OciDescriptor;

use super::client::{Access, WHOLE, access};
use super::{failure, layout, signature};
use crate::Error;
use crate::auth::Caller;
use crate::blobs;
use crate::services::App;

/// A component from a registry.
#[derive(Debug)]
pub struct Pulled {
    pub component: Bytes,
    /// `registry/repository[:tag]@digest` of the manifest.
    pub source: String,
}

/// # Errors
/// What the registry did not do, whose fault it is, or that the signature that is demanded is not there.
pub async fn pull(app: &App, caller: &Caller, text: &str) -> Result<Pulled, Error> {
    let access = access(app, text)?;
    tracing::info!(organization = %caller.organization, reference = %access.reference, "pulling a component");
    match tokio::time::timeout(WHOLE, fetch(app, &access)).await {
        Ok(pulled) => pulled,
        Err(_) => Err(failure::late(&access.reference)),
    }
}

async fn fetch(app: &App, access: &Access) -> Result<Pulled, Error> {
    let Access { client, auth, reference, .. } = access;
    let pulled = client.pull_image_manifest(reference, auth).await;
    let (manifest, digest) = pulled.map_err(|e| failure::problem(&e, reference))?;
    let layer = layout::component(&manifest)?;
    signature::check(app, access, &digest).await?;
    let component = blob(access, layer).await?;
    let tag = reference.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
    let source = format!("{}/{}{tag}@{digest}", reference.registry(), reference.repository());
    Ok(Pulled { component, source })
}

/// A layer's bytes, as many as its descriptor says.
pub(super) async fn blob(access: &Access, layer: &OciDescriptor) -> Result<Bytes, Error> {
    let Access { client, reference, silence, .. } = access;
    let wrong =
        |what: &str| Error::from(Problem::bad_upstream(format!("The registry {}: {what}", reference.registry())));
    if !blobs::is_digest(&layer.digest) {
        return Err(wrong("a digest in its manifest is none of SHA-256."));
    }
    // Addresses that a manifest names are never asked.
    let place = LayerDescriptor { digest: &layer.digest, urls: &None };
    let mut stream = client.pull_blob_stream(reference, &place).await.map_err(|e| failure::problem(&e, reference))?;
    let size = usize::try_from(layer.size).unwrap_or(0);
    let mut bytes = BytesMut::with_capacity(size);
    let late = |_| failure::late(reference);
    while let Some(piece) = tokio::time::timeout(*silence, stream.next()).await.map_err(late)? {
        let piece = piece.map_err(|e| failure::problem(&e.into(), reference))?;
        if bytes.len() + piece.len() > size {
            return Err(wrong("a blob is longer than its manifest says."));
        }
        bytes.extend_from_slice(&piece);
    }
    let bytes = bytes.freeze();
    if blobs::digest(&bytes) != layer.digest {
        return Err(wrong("it served other bytes than the manifest's digest says."));
    }
    Ok(bytes)
}
