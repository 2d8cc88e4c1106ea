//! Pulls a component: the manifest, its signature if the operator requires one, the layer. Every answer is bounded and
//! compared with the digest in the manifest.

use bytes::Bytes;
use cofferdam_contract::Problem;
use cofferdam_core::Caller;
use cofferdam_registry::Digest;

use super::access::{Access, TRANSFER_TIMEOUT};
use super::layout::{Descriptor, Found};
use super::{Artifacts, failure, layout, signature};
use crate::Error;

/// A component from a registry.
#[derive(Debug)]
pub struct PulledTool {
    pub component: Bytes,
    /// `registry/repository[:tag]@digest` of the manifest.
    pub source: String,
}

impl Artifacts {
    /// # Errors
    /// The registry's failure, or a missing signature that the operator requires.
    pub(crate) async fn pull(&self, caller: &Caller, text: &str) -> Result<PulledTool, Error> {
        let access = self.access(text)?;
        tracing::info!(organization = %caller.organization, reference = %access.reference, "pulling a component");
        let pulled = tokio::time::timeout(TRANSFER_TIMEOUT, self.fetch(&access)).await;
        pulled.unwrap_or_else(|_| Err(failure::late(&access.reference).into()))
    }

    async fn fetch(&self, access: &Access) -> Result<PulledTool, Error> {
        let Access { client, reference } = access;
        let served = client.manifest(&reference.which()).await.map_err(|e| failure::problem(&e, reference))?;
        let manifest = match layout::read(&served.bytes) {
            Found::Manifest(manifest) => manifest,
            Found::Index => {
                let detail = format!(
                    "{reference} is an index of several images; name the digest of the one with the component."
                );
                return Err(Problem::invalid(detail).into());
            }
            Found::Neither => return Err(failure::unexpected(reference).into()),
        };
        let layer = layout::component(&manifest)?;
        signature::check(&self.signatures, access, &served.digest).await?;
        let component = blob(access, layer).await?;
        let tag = reference.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
        let source = format!("{}/{}{tag}@{}", reference.registry(), reference.repository(), served.digest);
        Ok(PulledTool { component, source })
    }
}

/// A layer's bytes, as many as its descriptor says. URLs in a manifest are never requested.
pub(super) async fn blob(access: &Access, layer: &Descriptor) -> Result<Bytes, Error> {
    let Access { client, reference } = access;
    let Ok(digest) = layer.digest.parse::<Digest>() else {
        return Err(failure::upstream(reference, "a digest in its manifest is not a SHA-256 digest.").into());
    };
    let size = usize::try_from(layer.size).unwrap_or(0);
    Ok(client.layer(&digest, size).await.map_err(|e| failure::problem(&e, reference))?)
}
