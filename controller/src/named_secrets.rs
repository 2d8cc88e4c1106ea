//! Opens the organization's secrets that its upstreams name as their keys. A secret goes only to the hosts that it is bound
//! to. Never shows a value.

use std::sync::Arc;

use cofferdam_contract::OrganizationId;
use cofferdam_core::chain;
use cofferdam_identity::Secrets;
use cofferdam_models::settings::{NamedSecrets, SecretError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use zeroize::Zeroizing;

pub(crate) struct OfOrganization(pub(crate) Arc<Secrets>);

impl NamedSecrets for OfOrganization {
    fn open<'a>(
        &'a self,
        organization: &'a OrganizationId,
        name: &'a str,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, Result<Zeroizing<String>, SecretError>> {
        async move {
            let found = self.0.open(organization, name).await.map_err(|error| {
                tracing::error!(error = %chain(&error), "a secret that an upstream names could not be opened");
                match error {
                    // The same at the next try: only this upstream is out of use.
                    cofferdam_identity::Error::Vault(_) => SecretError::Refused(format!(
                        "the secret {name:?} does not open with this server's encryption key; set it again"
                    )),
                    _ => SecretError::Unavailable(format!("the secret {name:?} cannot be opened")),
                }
            })?;
            let secret = found.ok_or_else(|| SecretError::Refused(format!("there is no secret {name:?}")))?;
            if secret.hosts.iter().any(|bound| bound.binds(host, port)) {
                return Ok(secret.value.clone());
            }
            Err(SecretError::Refused(format!(
                "the secret {name:?} may not be sent to {host}:{port}; add it to its hosts"
            )))
        }
        .boxed()
    }
}
