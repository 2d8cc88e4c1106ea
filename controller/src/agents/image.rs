//! Images that lie in a registry already: which registries may be named, and what a reference stands for now.

use cofferdam_contract::{OrganizationId, Problem};
use futures_util::future::BoxFuture;

use super::PushedImage;
use crate::Error;
use crate::config::{RegistriesConfig, Secret};
use crate::environments::{Environment, Images, LOCAL, path_part};
use crate::services::App;

const MAX_REFERENCE: usize = 512;

/// A registry, and how it is asked.
#[derive(Debug, Clone)]
pub struct RegistryAccess {
    pub plain_http: bool,
    pub credentials: Option<(String, Secret)>,
    /// PEM; beside the system's own.
    pub ca: Option<String>,
}

/// Asks registries what a reference stands for. Tests have their own.
pub trait Resolve: Send + Sync {
    /// The image for that architecture, with the digest that it has now.
    fn resolve<'a>(
        &'a self,
        access: &'a RegistryAccess,
        reference: &'a str,
        architecture: &'a str,
    ) -> BoxFuture<'a, Result<PushedImage, Error>>;
}

/// What the reference stands for, pinned.
///
/// # Errors
/// A text that is none, a registry that is not allowed, an image that cannot run there.
pub(super) async fn resolve(
    app: &App,
    organization: &OrganizationId,
    environment: &Environment,
    text: &str,
) -> Result<PushedImage, Error> {
    let access = access(&app.config.registries, organization, environment, text)?;
    let resolver = app.agents.resolver();
    resolver.resolve(&access, text, &environment.architecture).await
}

fn access(
    registries: &RegistriesConfig,
    organization: &OrganizationId,
    environment: &Environment,
    text: &str,
) -> Result<RegistryAccess, Error> {
    let host = text.split('/').next().unwrap_or_default();
    let named = host.contains(['.', ':']) || host == "localhost";
    let odd = |c: char| c.is_whitespace() || c.is_control();
    if text.len() > MAX_REFERENCE || !named || !text.contains('/') || text.contains(odd) {
        let detail = "image: a reference with its registry, such as registry.example/agents/hello:1 or ...@sha256:...";
        return Err(Problem::invalid(detail).into());
    }
    let images = &environment.images;
    let places = || [&images.repository, &images.pull_repository].into_iter().flatten();
    let under = |place: &str| text.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'));
    // The operator's registry holds the images of every organization; each may name its own.
    if environment.name == LOCAL && places().any(|place| under(place)) {
        if !places().any(|place| under(&format!("{place}/{}", path_part(organization)))) {
            return Err(Problem::not_found(format!("There is no image {text:?}.")).into());
        }
        return Ok(own(images));
    }
    if let Some(known) = registries.find(host) {
        let (plain_http, credentials) = (known.plain_http, known.credentials.clone());
        return Ok(RegistryAccess { plain_http, credentials, ca: None });
    }
    if let Some(place) = places().find(|place| place.split('/').next() == Some(host)) {
        if environment.name != LOCAL {
            return Ok(own(images));
        }
        // Of a registry that is shared, only the part that is ours is.
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

fn own(images: &Images) -> RegistryAccess {
    RegistryAccess { plain_http: images.plain_http, credentials: images.credentials.clone(), ca: images.ca.clone() }
}
