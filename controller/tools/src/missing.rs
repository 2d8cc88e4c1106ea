//! Warns about grants that name a secret or a tool that does not exist. It may come later, so that the deployment goes on.

use cofferdam_contract::{Grants, OrganizationId};

use crate::shelf::ToolShelf;
use crate::{Error, Tools};

/// Secrets that are looked up for one deployment. A tool with more is not warned about the rest.
const MAX_LOOKED_UP: usize = 64;

impl Tools {
    /// The warnings for the grants of the tool `name`.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn missing(
        &self,
        organization: &OrganizationId,
        name: &str,
        grants: &Grants,
        shelf: &ToolShelf,
    ) -> Result<Vec<String>, Error> {
        let mut warnings = Vec::new();
        for secret in grants.secrets.iter().take(MAX_LOOKED_UP) {
            if self.store.secret(organization, &secret.name).await?.is_none() {
                warnings.push(gone("secrets", "secret", &secret.name));
            }
        }
        let unknown = |tool: &&String| *tool != "*" && *tool != name && !shelf.tools.contains_key(*tool);
        warnings.extend(grants.tools.iter().filter(unknown).map(|tool| gone("tools", "tool", tool)));
        Ok(warnings)
    }
}

fn gone(field: &str, kind: &str, name: &str) -> String {
    format!(
        "grants.{field}: there was no {kind} {name:?} when this version was deployed; calls that need it fail until there is one"
    )
}
