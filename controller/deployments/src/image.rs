//! Images that are in a registry already: which registries a reference may name, and the image it stands for now.

use cofferdam_contract::{OrganizationId, Problem};
use cofferdam_core::Secret;
use cofferdam_environments::{Environment, Images, LOCAL, path_part};
use cofferdam_policy::RegistriesConfig;
use cofferdam_uploads::PushedImage;
use futures_util::future::BoxFuture;

use crate::{Deployments, Error};

/// The longest image reference, in bytes.
const MAX_REFERENCE: usize = 512;

/// The way to a registry.
#[derive(Debug, Clone)]
pub struct RegistryAccess {
    pub plain_http: bool,
    pub credentials: Option<(String, Secret)>,
    /// PEM; in addition to the system's certificates.
    pub ca: Option<String>,
}

/// Asks registries which image a reference stands for. Tests have an implementation of their own.
pub trait ResolveImage: Send + Sync {
    /// The image for that architecture, with the digest that it has now.
    fn resolve<'a>(
        &'a self,
        access: &'a RegistryAccess,
        reference: &'a str,
        architecture: &'a str,
    ) -> BoxFuture<'a, Result<PushedImage, Error>>;

    /// Begins an upload to a repository and cancels it. An error is a text for the environment's owner.
    fn try_push<'a>(&'a self, access: &'a RegistryAccess, repository: &'a str) -> BoxFuture<'a, Result<(), String>>;
}

impl Deployments {
    /// The image that a reference stands for, pinned to its digest.
    ///
    /// # Errors
    /// An invalid reference, a registry that is not allowed, an image that cannot run in the environment.
    pub(crate) async fn resolve(
        &self,
        organization: &OrganizationId,
        environment: &Environment,
        reference: &str,
    ) -> Result<PushedImage, Error> {
        let access = access(&self.registries, organization, environment, reference)?;
        self.resolver.resolve(&access, reference, &environment.architecture).await
    }
}

fn access(
    registries: &RegistriesConfig,
    organization: &OrganizationId,
    environment: &Environment,
    reference: &str,
) -> Result<RegistryAccess, Error> {
    let host = reference.split('/').next().unwrap_or_default();
    let named = host.contains(['.', ':']) || host == "localhost";
    let odd = |c: char| c.is_whitespace() || c.is_control();
    if reference.len() > MAX_REFERENCE || !named || !reference.contains('/') || reference.contains(odd) {
        let detail = "image: a reference with its registry, such as registry.example/agents/hello:1 or ...@sha256:...";
        return Err(Problem::invalid(detail).into());
    }
    let images = &environment.images;
    let places = || [&images.repository, &images.pull_repository].into_iter().flatten();
    let under = |place: &str| reference.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'));
    // The operator's registry holds the images of every organization; an organization may name its own only.
    if environment.name == LOCAL
        && let Some(place) = places().find(|place| under(place))
    {
        let ours = |place: &str| format!("{place}/{}", path_part(organization));
        if !places().any(|place| under(&ours(place))) {
            // The same answer for another organization's image and for none.
            let detail = format!(
                "image: this organization has no image {reference:?}: in {host} its images are below {}/ only. Deploy one \
                 from there, or an archive (`docker save IMAGE | cofferdam deploy - ...`), which is pushed to there.",
                ours(place)
            );
            return Err(Problem::not_found(detail).into());
        }
        return Ok(own(images));
    }
    let named = |place: &&String| place.split('/').next() == Some(host);
    if let Some(known) = registries.find(host) {
        // What its images are pushed to without TLS has no TLS for other images either.
        let plain_http =
            known.plain_http || (images.plain_http && images.repository.as_ref().is_some_and(|place| named(&place)));
        return Ok(RegistryAccess { plain_http, credentials: known.credentials.clone(), ca: None });
    }
    if let Some(place) = places().find(|place| named(place)) {
        if environment.name != LOCAL {
            return Ok(own(images));
        }
        // The rest of a shared registry belongs to others.
        let ours = format!("{place}/{}", path_part(organization));
        let detail = format!(
            "image: of {host} only {ours}/... is this organization's own. Deploy an image from there or from an archive; \
             the operator opens all of it by naming {host} among the registries (COFFERDAM_REGISTRIES)."
        );
        return Err(Problem::denied(detail).into());
    }
    let detail = format!(
        "image: {host} is not among the registries that the operator names (COFFERDAM_REGISTRIES, or [registries] in \
         the configuration file), nor is it the environment's own."
    );
    Err(Problem::denied(detail).into())
}

pub(crate) fn own(images: &Images) -> RegistryAccess {
    RegistryAccess { plain_http: images.plain_http, credentials: images.credentials.clone(), ca: images.ca.clone() }
}
