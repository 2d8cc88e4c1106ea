//! Resolves image references by asking their registries.

use bytes::Bytes;
use cofferdam_contract::Problem;
use cofferdam_registry::{Client, Credentials, Reference, Target};
use cofferdam_uploads::{PushedImage, look_up, told};
use futures_util::future::BoxFuture;

use crate::{Error, RegistryAccess, ResolveImage};

/// Asks the registry that a reference names. `image.rs` decides which registries that may be.
pub struct RegistryResolver;

impl ResolveImage for RegistryResolver {
    fn resolve<'a>(
        &'a self,
        access: &'a RegistryAccess,
        reference: &'a str,
        architecture: &'a str,
    ) -> BoxFuture<'a, Result<PushedImage, Error>> {
        Box::pin(async move {
            let target = target(access, reference)?;
            Ok(look_up(&target, architecture).await?)
        })
    }

    fn try_push<'a>(&'a self, access: &'a RegistryAccess, repository: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let target = target(access, &format!("{repository}:test")).map_err(|problem| problem.detail)?;
            let client = Client::new(&target).map_err(|error| told(&error))?;
            client.check().await.map_err(|error| told(&error))?;
            let upload = client.begin_upload().await.map_err(|error| told(&error))?;
            client.abandon(&upload).await;
            Ok(())
        })
    }
}

fn target(access: &RegistryAccess, reference: &str) -> Result<Target, Problem> {
    let reference = Reference::parse(reference).map_err(|error| Problem::invalid(format!("image: {error}")))?;
    let mut target = Target::new(reference);
    target.plain_http = access.plain_http;
    target.ca = access.ca.clone().map(Bytes::from);
    if let Some((name, password)) = &access.credentials {
        target.credentials = Credentials::basic(name, password.expose());
    }
    Ok(target)
}
