//! Pulls a component: the manifest, its signature where the operator trusts keys, the layer. Bounded, and every byte
//! compared with the digest that the manifest names.

use bytes::Bytes;
use cofferdam_contract::Problem;
use cofferdam_registry::Digest;

use super::client::{Access, WHOLE, access};
use super::layout::{Descriptor, Found};
use super::{failure, layout, signature};
use crate::Error;
use crate::auth::Caller;
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
    let Access { client, reference } = access;
    let served = client.manifest(&reference.which()).await.map_err(|e| failure::problem(&e, reference))?;
    let manifest = match layout::read(&served.bytes) {
        Found::Manifest(manifest) => manifest,
        Found::Index => {
            let detail =
                format!("{reference} is an index of several images; name the digest of the one with the component.");
            return Err(Problem::invalid(detail).into());
        }
        Found::Neither => return Err(failure::strange(reference)),
    };
    let layer = layout::component(&manifest)?;
    signature::check(app, access, &served.digest).await?;
    let component = blob(access, layer).await?;
    let tag = reference.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
    let source = format!("{}/{}{tag}@{}", reference.registry(), reference.repository(), served.digest);
    Ok(Pulled { component, source })
}

/// A layer's bytes, as many as its descriptor says. Addresses that a manifest names are never asked.
pub(super) async fn blob(access: &Access, layer: &Descriptor) -> Result<Bytes, Error> {
    let Access { client, reference } = access;
    let Ok(digest) = layer.digest.parse::<Digest>() else {
        let detail = format!("The registry {}: a digest in its manifest is none of SHA-256.", reference.registry());
        return Err(Problem::bad_upstream(detail).into());
    };
    let size = usize::try_from(layer.size).unwrap_or(0);
    client.layer(&digest, size).await.map_err(|e| failure::problem(&e, reference))
}
